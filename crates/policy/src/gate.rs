//! Rules at work: a responder's set-up, the gate in it, and the trail behind.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use haul_transfer::{
    Asking, Bounds, Direction, ErrorCode, Gate, Leave, RespondSetup, SuiteId, Summary,
    TransferError, Unauthorized, escaped,
};
use haul_wire::control::{After, Overwrite, Request};

use crate::{Outcome, Policy, Record, Refusal, Rules, Trail, Visitor, names::Names};

/// What stands between one visitor and the server: rules, or the reason why there are none.
#[derive(Debug, Clone)]
pub struct Door {
    program: &'static str,
    visitor: Visitor,
    policy: Option<Policy>,
    rules: Result<Rules, Refusal>,
    trail: Option<Trail>,
    walls: Option<String>,
    asked: Arc<Mutex<Option<Asked>>>,
}

/// What the session was about, for its record.
#[derive(Debug, Clone)]
struct Asked {
    direction: &'static str,
    paths: Vec<String>,
    refused: Option<(Refusal, String)>,
}

impl Door {
    /// Asks the policy in this file about a visitor. Also who is turned away hears of it only when something has
    /// been asked for, as everybody does.
    pub fn open(program: &'static str, path: &Path, visitor: Visitor) -> Self {
        let mut this = Self {
            program,
            visitor,
            policy: None,
            rules: Err(Refusal::new("config", "")),
            trail: None,
            walls: None,
            asked: Arc::default(),
        };
        let policy = match Policy::load(path) {
            Ok(policy) => this.policy.insert(policy),
            Err(error) => {
                this.shut("config", error.to_string());
                return this;
            }
        };
        this.rules = policy.admit(&this.visitor);
        match policy.audit().map(Trail::open).transpose() {
            Ok(trail) => this.trail = trail,
            Err(error) => this.shut("audit", error.to_string()),
        }
        this
    }

    /// The policy, if there is one that can be used.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// What holds for the visitor.
    ///
    /// # Errors
    /// Why nothing does.
    pub fn rules(&self) -> Result<&Rules, &Refusal> {
        self.rules.as_ref()
    }

    /// Turns the visitor away after all.
    pub fn shut(&mut self, code: &'static str, why: impl Into<String>) {
        self.rules = Err(Refusal::new(code, why));
    }

    /// Notes which walls stand around the process.
    pub fn note_walls(&mut self, walls: impl ToString) {
        self.walls = Some(walls.to_string());
    }

    /// The set-up as far as the rules go; what they do not speak of stays.
    #[must_use]
    pub fn apply(&self, setup: RespondSetup) -> RespondSetup {
        let mut setup = setup;
        if let Ok(rules) = &self.rules {
            setup.suites = rules.suites();
            setup.allow_none = setup.suites.contains(&SuiteId::NoneCmac);
            setup.any_source = rules.terms.any_source.unwrap_or(false);
            setup.allow_privileged = rules.terms.privileged == Some(true);
            if let Some(root) = &rules.root {
                setup.home.clone_from(root);
                setup.jail = Some(root.clone());
            }
        }
        let this = self.clone();
        setup.gate = Some(Gate::new(move |asking| this.decide(&asking)));
        setup
    }

    fn decide(&self, asking: &Asking) -> Result<Leave, Unauthorized> {
        let judged = match &self.rules {
            Ok(rules) => rules.judge(&asking.request),
            Err(refusal) => Err(refusal.clone()),
        };
        let request = &asking.request;
        let mut asked = Asked {
            direction: direction(request.direction),
            paths: paths(request),
            refused: None,
        };
        let decided = judged.map_err(|refusal| {
            let reference = reference();
            asked.refused = Some((refusal, reference.clone()));
            Unauthorized(reference)
        });
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        decided
    }

    /// Leaves the session's record.
    ///
    /// # Errors
    /// The system's, where the trail cannot be written.
    pub fn record(&self, outcome: Result<&Summary, &TransferError>) -> io::Result<()> {
        let Some(trail) = &self.trail else {
            return Ok(());
        };
        let asked = self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let refused = asked.as_ref().and_then(|asked| asked.refused.clone());
        let (summary, error) = match outcome {
            Ok(summary) => (Some(summary), None),
            Err(TransferError::Partial { summary, .. }) => {
                (Some(&**summary), Some(ErrorCode::Partial))
            }
            Err(error) => (None, Some(error.code())),
        };
        let ended = match (&refused, error) {
            (Some(_), _) => Outcome::Refused,
            (None, None) => Outcome::Done,
            (None, Some(_)) => Outcome::Failed,
        };
        let mut record = Record::new(self.program, &self.visitor.user, ended);
        record.address = self.visitor.address.map(|address| address.to_string());
        record.key.clone_from(&self.visitor.key);
        record.walls.clone_from(&self.walls);
        record.bytes = summary.map(|summary| summary.bytes);
        record.files = summary.map(|summary| summary.files);
        record.reason = error.map(|code| code.name().to_owned());
        if let Err(error) = outcome {
            record.detail = Some(error.to_string());
        }
        if let Some(asked) = asked {
            record.direction = Some(asked.direction);
            record.paths = asked.paths;
        }
        if let Some((refusal, reference)) = refused {
            record.reason = Some(refusal.code.to_owned());
            record.detail = Some(refusal.text);
            record.reference = Some(reference);
        }
        trail.add(&record)
    }
}

impl Rules {
    /// Whether a request is allowed, and within which bounds.
    fn judge(&self, request: &Request) -> Result<Leave, Refusal> {
        let names = self.names()?;
        let not_allowed = self.not_allowed(request, &names);
        if let Some((_, refusal)) = not_allowed.into_iter().find(|(holds, _)| *holds) {
            return Err(refusal);
        }
        let terms = &self.terms;
        let rate = match request.direction {
            Direction::Upload => &terms.rate_up,
            Direction::Download => &terms.rate_down,
        };
        Ok(Leave {
            rate_max_bps: rate.as_ref().map(|rate| rate.0),
            umask: terms.umask.as_ref().map(|umask| umask.0),
            bounds: Bounds {
                bytes_max: terms.bytes_max,
                names_max: terms.names_max,
                names: names.rule(),
            },
            ..Leave::default()
        })
    }

    /// All that may stand against a request, and whether it does.
    fn not_allowed(&self, request: &Request, names: &Names) -> [(bool, Refusal); 10] {
        let terms = &self.terms;
        let measures = request.measure.is_some();
        let uploads = !measures && request.direction == Direction::Upload;
        let downloads = !measures && !uploads;
        let replaces = uploads && request.placing.overwrite != Overwrite::Never;
        let deletes = uploads && request.placing.delete;
        let takes = downloads && request.taking.after != After::Keep;
        let privileged = uploads && request.preserve.privileged;
        let no = Refusal::new;
        [
            (
                measures && !self.may(terms.measure),
                no("measure", "measuring is not allowed"),
            ),
            (
                uploads && !self.may(terms.write),
                no("direction", "uploads are not allowed"),
            ),
            (
                downloads && !self.may(terms.read),
                no("direction", "downloads are not allowed"),
            ),
            (
                replaces && !self.may(terms.overwrite),
                no(
                    "overwrite",
                    "what is there may not be replaced: --overwrite never",
                ),
            ),
            (
                deletes && terms.delete != Some(true),
                no("delete", "--delete is not allowed"),
            ),
            (
                // What is removed is not asked for by name.
                deletes && !names.is_all(),
                no(
                    "delete",
                    "--delete is not allowed where only some names are",
                ),
            ),
            (
                takes && terms.take != Some(true),
                no("take", "sources may not be removed or moved"),
            ),
            (
                privileged && terms.privileged != Some(true),
                no("privileged", "--privileged is not allowed"),
            ),
            (
                !self.allows_policy(request.policy.as_bytes()),
                no("policy", "this rate policy is not allowed"),
            ),
            (
                request.token.is_some(),
                no("token", "a token was shown, and nobody here reads them"),
            ),
        ]
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Upload => "upload",
        Direction::Download => "download",
    }
}

fn paths(request: &Request) -> Vec<String> {
    match request.direction {
        _ if request.measure.is_some() => Vec::new(),
        Direction::Upload => vec![escaped(&request.destination)],
        Direction::Download => request.sources.iter().map(|path| escaped(path)).collect(),
    }
}

/// Told to the peer and kept in the trail: 64 random bits.
fn reference() -> String {
    let mut random = [0; 8];
    match getrandom::fill(&mut random) {
        Ok(()) => format!("{:016x}", u64::from_be_bytes(random)),
        // It only has to be found again.
        Err(_) => format!("{:016x}", jiff::Timestamp::now().as_nanosecond() as u64),
    }
}
