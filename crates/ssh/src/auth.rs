//! Proving to the host who the user is: agent, key files, keyboard-interactive, password.

mod agent;
mod key_file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ssh2::ErrorCode;
use zeroize::Zeroizing;

use crate::error::{SshError, Stage};
use crate::escape::escaped;
use crate::link::Link;
use crate::options::{Options, Prompt};
use agent::is_token_key;
use key_file::KeyFile;

/// How long the server may keep us waiting within one attempt. Password checks that ask a directory
/// or delay failures on purpose take seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a passphrase or password may be mistyped.
const ANSWERS_MAX: usize = 3;
/// With more keys than these the server is asked first whether it takes keys at all. Once a key has
/// been refused, asking counts as another failure, and servers hang up after some six.
const UNASKED_KEYS_MAX: usize = 3;
/// Rounds of questions a server may ask in one keyboard-interactive attempt.
const ROUNDS_MAX: usize = 10;
/// `LIBSSH2_ERROR_AUTHENTICATION_FAILED`: the server does not want this key or answer.
const REFUSED: ErrorCode = ErrorCode::Session(-18);
/// Key files looked for when none is named, OpenSSH's without the kinds that are obsolete or need
/// a token.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// As whom to log in, and with what.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) host: String,
    /// Key files of the configuration.
    pub(crate) identity_files: Vec<PathBuf>,
    /// Use no key of the agent that no key file stands for.
    pub(crate) identities_only: bool,
}

/// Something to authenticate with.
enum Candidate {
    /// The agent's key with this public key.
    Agent(Vec<u8>),
    File(KeyFile),
}

impl Candidate {
    /// Whether it can be offered without asking the user for anything.
    fn is_ready(&self) -> bool {
        match self {
            Self::Agent(_) => true,
            Self::File(key) => !key.encrypted,
        }
    }
}

/// What has been tried so far, for the user to learn why it was in vain.
#[derive(Debug, Default)]
struct Account {
    tried: Vec<String>,
    notes: Vec<String>,
}

/// Logs in.
///
/// # Errors
/// [`SshError::AuthenticationFailed`] or, if there was nothing to try, [`SshError::NoIdentity`];
/// [`SshError::KeyFile`] for a key named by the user that cannot be read; [`SshError::Timeout`].
pub(crate) fn authenticate(
    link: &Link,
    login: &Login,
    options: &mut Options,
) -> Result<(), SshError> {
    let mut attempt = Attempt {
        link,
        login,
        options,
        account: Account::default(),
    };
    let mut keys = attempt.candidates()?.into_iter().peekable();
    // The usual key saves the round trip that asking what the server accepts would cost.
    if keys.len() <= UNASKED_KEYS_MAX
        && let Some(first) = keys.next_if(Candidate::is_ready)
    {
        match attempt.candidate(&first)? {
            Some(Outcome::In) => return Ok(()),
            Some(Outcome::Refused | Outcome::Unsigned) => {}
            None => return Err(attempt.account.failure(login, "publickey")),
        }
    }
    let methods = link.drive(PATIENCE, Stage::Authentication, || {
        link.session.auth_methods(&login.user).map(str::to_owned)
    })?;
    if link.session.authenticated() {
        return Ok(());
    }
    let accepted = match methods {
        Ok(methods) => methods,
        Err(_) if !attempt.account.tried.is_empty() => {
            attempt.account.note_hang_up();
            return Err(attempt.account.failure(login, "publickey"));
        }
        Err(e) => return Err(SshError::lost(e.message())),
    };
    let offers = |method: &str| accepted.split(',').any(|m| m == method);
    let in_now = (offers("publickey") && attempt.keys(keys)?)
        || (offers("keyboard-interactive") && attempt.keyboard()?)
        || (offers("password") && !offers("keyboard-interactive") && attempt.password()?);
    if in_now {
        Ok(())
    } else {
        Err(attempt.account.failure(login, &accepted))
    }
}

impl Account {
    fn note_hang_up(&mut self) {
        let note = "the server hung up: too many keys? choose one with -i and IdentitiesOnly";
        self.notes.push(note.to_owned());
    }

    fn failure(self, login: &Login, accepted: &str) -> SshError {
        let (user, host) = (login.user.clone(), login.host.clone());
        let accepted = escaped(accepted).replace(',', ", ");
        let notes: String = self.notes.iter().map(|note| format!("; {note}")).collect();
        if self.tried.is_empty() {
            return SshError::NoIdentity {
                user,
                host,
                accepted,
                notes,
            };
        }
        let tried = self.tried.join(", ");
        SshError::AuthenticationFailed {
            user,
            host,
            tried,
            accepted,
            notes,
        }
    }
}

/// One login in progress.
struct Attempt<'a> {
    link: &'a Link,
    login: &'a Login,
    options: &'a mut Options,
    account: Account,
}

impl Attempt<'_> {
    /// One exchange with the server; `None`: it has hung up on us, so no other attempt can help.
    fn exchange(
        &mut self,
        what: impl FnOnce() -> String,
        operation: impl FnMut() -> Result<(), ssh2::Error>,
    ) -> Result<Option<Outcome>, SshError> {
        let result = self
            .link
            .drive(PATIENCE, Stage::Authentication, operation)?;
        self.account.tried.push(what());
        Ok(match result {
            Ok(()) => Some(Outcome::In),
            Err(e) if e.code() == REFUSED => Some(Outcome::Refused),
            Err(e) if says_gone(&e) || self.server_is_gone() => {
                self.account.note_hang_up();
                None
            }
            Err(_) => Some(Outcome::Unsigned),
        })
    }

    /// Whether the server has closed the connection.
    fn server_is_gone(&self) -> bool {
        match self.link.socket().peek(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(e) => e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Tries one key after another; whether one let us in.
    fn keys(&mut self, candidates: impl Iterator<Item = Candidate>) -> Result<bool, SshError> {
        for candidate in candidates {
            match self.candidate(&candidate)? {
                Some(Outcome::In) => return Ok(true),
                Some(Outcome::Refused | Outcome::Unsigned) => {}
                None => break,
            }
        }
        Ok(false)
    }

    fn candidate(&mut self, candidate: &Candidate) -> Result<Option<Outcome>, SshError> {
        match candidate {
            Candidate::Agent(blob) => self.agent_key(blob),
            Candidate::File(key) => self.key_file(key),
        }
    }

    /// What to try, in order: keys of the agent that stand in a key file; key files the user named;
    /// other keys of the agent; other key files. Files the user named come before the agent's other
    /// keys because servers hang up after some six attempts.
    fn candidates(&mut self) -> Result<Vec<Candidate>, SshError> {
        let named = self.named_files()?;
        let others = self.other_files();
        let mut held = match &self.options.agent {
            None => Vec::new(),
            Some(socket) => agent::list(socket).unwrap_or_else(|e| {
                self.account
                    .notes
                    .push(format!("the agent does not answer ({e})"));
                Vec::new()
            }),
        };
        if held.iter().any(|blob| is_token_key(blob)) {
            held.retain(|blob| !is_token_key(blob));
            self.note_token();
        }
        let in_file = |blob: &Vec<u8>| {
            named
                .iter()
                .chain(&others)
                .any(|key| key.public.as_ref() == Some(blob))
        };
        let (first, mut rest): (Vec<_>, Vec<_>) = held.iter().cloned().partition(in_file);
        if self.login.identities_only {
            rest.clear();
        }
        let not_held = |key: &KeyFile| key.public.as_ref().is_none_or(|blob| !held.contains(blob));
        let files = |keys: Vec<KeyFile>| {
            keys.into_iter()
                .filter(not_held)
                .map(Candidate::File)
                .collect::<Vec<_>>()
        };
        let mut candidates: Vec<_> = first.into_iter().map(Candidate::Agent).collect();
        candidates.extend(files(named));
        candidates.extend(rest.into_iter().map(Candidate::Agent));
        candidates.extend(files(others));
        Ok(candidates)
    }

    /// Key files named by the user for this connection; each must be usable.
    fn named_files(&self) -> Result<Vec<KeyFile>, SshError> {
        let read = |path: &PathBuf| {
            KeyFile::read(path).map_err(|e| SshError::KeyFile {
                file: path.clone(),
                source: Arc::new(e),
            })
        };
        self.options.identities.iter().map(read).collect()
    }

    /// Key files of the configuration or, if that names none, the usual ones. Those that are not
    /// there are no loss.
    fn other_files(&mut self) -> Vec<KeyFile> {
        let mut paths = self.login.identity_files.clone();
        if paths.is_empty() && self.options.identities.is_empty() {
            let directory = self.options.home.as_ref().map(|home| home.join(".ssh"));
            paths.extend(
                directory
                    .iter()
                    .flat_map(|d| DEFAULT_KEYS.map(|name| d.join(name))),
            );
        }
        let mut keys = Vec::new();
        for path in paths {
            match KeyFile::read(&path) {
                Ok(key) => keys.push(key),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => self.account.notes.push(format!("{}: {e}", path.display())),
            }
        }
        keys
    }

    fn note_token(&mut self) {
        let note = "keys on a FIDO token need --ssh-program ssh";
        if !self.account.notes.iter().any(|n| n == note) {
            self.account.notes.push(note.to_owned());
        }
    }

    fn agent_key(&mut self, blob: &[u8]) -> Result<Option<Outcome>, SshError> {
        let key = (|| {
            let mut agent = self.link.session.agent()?;
            if let Some(path) = &self.options.agent {
                agent.set_identity_path(path)?;
            }
            agent.connect()?;
            agent.list_identities()?;
            let key = agent
                .identities()?
                .into_iter()
                .find(|key| key.blob() == blob);
            Ok::<_, ssh2::Error>(key.map(|key| (agent, key)))
        })();
        // The key may have gone since the agent was asked; there are others to try.
        let Ok(Some((agent, key))) = key else {
            return Ok(Some(Outcome::Unsigned));
        };
        let what = || format!("agent key {}", escaped(key.comment()));
        self.exchange(what, || agent.userauth(&self.login.user, &key))
    }

    fn key_file(&mut self, key: &KeyFile) -> Result<Option<Outcome>, SshError> {
        if key.public.as_ref().is_some_and(|blob| is_token_key(blob)) {
            self.note_token();
            return Ok(Some(Outcome::Unsigned));
        }
        let Some(private) = &key.private else {
            return Ok(Some(Outcome::Unsigned));
        };
        let name = key.path.display().to_string();
        if key.encrypted && !self.options.interactive {
            self.account
                .notes
                .push(format!("{name} is encrypted and nobody can be asked"));
            return Ok(Some(Outcome::Unsigned));
        }
        let public = key.public_line();
        let (link, user) = (self.link, self.login.user.as_str());
        let offer = |passphrase: Option<&str>| {
            link.session
                .userauth_pubkey_memory(user, public.as_deref(), private, passphrase)
        };
        // Without its passphrase an encrypted key cannot sign, but the server does say whether it
        // wants that key at all: nobody is asked for a passphrase in vain.
        if !key.encrypted || public.is_some() {
            let outcome = self.exchange(|| name.clone(), || offer(None))?;
            if !key.encrypted || outcome != Some(Outcome::Unsigned) {
                if outcome == Some(Outcome::Unsigned) {
                    self.account
                        .notes
                        .push(format!("{name} could not be used to sign"));
                }
                return Ok(outcome);
            }
        }
        for _ in 0..ANSWERS_MAX {
            let prompt = Prompt::Passphrase {
                key: key.path.clone(),
            };
            let Some(passphrase) = self.options.answer(prompt) else {
                break;
            };
            let outcome = self.exchange(|| name.clone(), || offer(Some(&passphrase)))?;
            if outcome != Some(Outcome::Unsigned) {
                return Ok(outcome);
            }
        }
        self.account
            .notes
            .push(format!("no right passphrase for {name}"));
        Ok(Some(Outcome::Unsigned))
    }

    fn keyboard(&mut self) -> Result<bool, SshError> {
        for _ in 0..ANSWERS_MAX {
            if !self.options.interactive || self.server_is_gone() {
                break;
            }
            let (link, user) = (self.link, self.login.user.as_str());
            let mut questions = Questions {
                link,
                options: &mut *self.options,
                rounds: 0,
                unanswered: false,
            };
            let result = link.drive(PATIENCE, Stage::Authentication, || {
                link.session
                    .userauth_keyboard_interactive(user, &mut questions)
            })?;
            let (asked, unanswered) = (questions.rounds > 0, questions.unanswered);
            if result.is_ok() {
                return Ok(true);
            }
            if asked {
                self.account.tried.push("keyboard-interactive".to_owned());
            }
            if unanswered || !asked {
                break;
            }
        }
        Ok(false)
    }

    fn password(&mut self) -> Result<bool, SshError> {
        let (user, host) = (self.login.user.clone(), self.login.host.clone());
        for _ in 0..ANSWERS_MAX {
            let prompt = Prompt::Password {
                user: user.clone(),
                host: host.clone(),
            };
            let Some(password) = self.options.answer(prompt) else {
                break;
            };
            let link = self.link;
            let offer = || link.session.userauth_password(&user, &password);
            match self.exchange(|| "password".to_owned(), offer)? {
                Some(Outcome::In) => return Ok(true),
                Some(_) => {}
                None => break,
            }
        }
        Ok(false)
    }
}

/// Whether libssh2 reports, in one of several disguises, that the server has hung up. It gives a
/// missing answer the code of a bad signature, and only its words tell the two apart.
fn says_gone(error: &ssh2::Error) -> bool {
    const SEND: ErrorCode = ErrorCode::Session(-7);
    const DISCONNECT: ErrorCode = ErrorCode::Session(-13);
    const RECEIVE: ErrorCode = ErrorCode::Session(-43);
    [SEND, DISCONNECT, RECEIVE].contains(&error.code())
        || error.message().starts_with("Waiting for")
}

/// What the server said to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    In,
    /// It does not want this.
    Refused,
    /// It may have wanted this, but we could not or not rightly sign.
    Unsigned,
}

/// Passes the server's questions on to the user.
struct Questions<'a> {
    link: &'a Link,
    options: &'a mut Options,
    rounds: usize,
    unanswered: bool,
}

impl ssh2::KeyboardInteractivePrompt for Questions<'_> {
    fn prompt(
        &mut self,
        _user: &str,
        instructions: &str,
        prompts: &[ssh2::Prompt<'_>],
    ) -> Vec<String> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            // libssh2 would go on for as long as the server does.
            let _ = self.link.socket().shutdown(std::net::Shutdown::Both);
            self.unanswered = true;
        }
        let mut answers = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let before = match (index, instructions.trim()) {
                (0, text) if !text.is_empty() => format!("{text}\n"),
                _ => String::new(),
            };
            let text = escaped(&(before + &prompt.text));
            let answer = if self.unanswered {
                None
            } else {
                self.options.answer(Prompt::Challenge {
                    text,
                    echo: prompt.echo,
                })
            };
            self.unanswered |= answer.is_none();
            answers.push(
                answer
                    .map(|a: Zeroizing<String>| (*a).clone())
                    .unwrap_or_default(),
            );
        }
        answers
    }
}
