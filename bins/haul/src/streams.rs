//! Standard input and output in the place of a file.

use std::{ffi::OsString, fs::File, io, os::fd::AsFd as _, sync::Arc};

use haul_log::LogPlace;
use haul_transfer::{JobOptions, Overwrite};

use crate::{args::Args, job::JobError, taking::TakingArgs};

/// What stands for standard input as a source, and for standard output as the destination.
const DASH: &str = "-";
/// What standard input is called in a directory.
const STDIN_NAME: &[u8] = b"stdin";

/// Which of the places that were typed is a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streamed {
    /// Neither.
    Nothing,
    /// The source is standard input.
    Input,
    /// The destination is standard output.
    Output,
}

impl Streamed {
    /// Looks at what was typed; further sources may be listed elsewhere.
    ///
    /// # Errors
    /// What a stream cannot stand beside.
    pub(crate) fn of(args: &Args, listed: usize) -> Result<Self, JobError> {
        let is_dash = |place: &OsString| place == DASH;
        let [sources @ .., destination] = &*args.places else {
            return Ok(Self::Nothing);
        };
        let count = sources.len() + listed;
        let this = match (sources.iter().any(is_dash), is_dash(destination)) {
            (false, false) => Self::Nothing,
            (true, true) => return Err(JobError::BothLocal),
            _ if count > 1 => return Err(JobError::StreamBeside),
            _ if has_place(&args.taking) => return Err(JobError::StreamPlaced),
            (true, false) if is_of_files(&args.taking) => return Err(JobError::StreamPlaced),
            (true, false) => Self::Input,
            (false, true) if args.output.json || args.output.log == Some(LogPlace::Stdout) => {
                return Err(JobError::StreamAndEvents);
            }
            (false, true) => Self::Output,
        };
        Ok(this)
    }

    /// Sources, as the transfer takes them.
    pub(crate) fn name_sources(self, sources: &mut Vec<Vec<u8>>) {
        if self == Self::Input {
            *sources = vec![STDIN_NAME.to_vec()];
        }
    }

    /// Opens the stream once more, for the transfer alone.
    ///
    /// # Errors
    /// [`JobError::Stream`].
    pub(crate) fn open(self, options: &mut JobOptions) -> Result<(), JobError> {
        let keeps = options.placing.overwrite != Overwrite::Always
            && options.placing.overwrite != Overwrite::Diff;
        let has_no_time = self == Self::Input || options.taking.grow_seconds.is_some();
        if keeps && has_no_time {
            return Err(JobError::StreamKeeps);
        }
        let fd = match self {
            Self::Nothing => return Ok(()),
            Self::Input => io::stdin().as_fd().try_clone_to_owned(),
            Self::Output => io::stdout().as_fd().try_clone_to_owned(),
        };
        let file = Some(Arc::new(File::from(fd.map_err(JobError::Stream)?)));
        match self {
            Self::Nothing => {}
            Self::Input => options.input = file,
            Self::Output => {
                options.output = file;
                // A directory is refused where it is.
                options.taking.recursive = false;
            }
        }
        Ok(())
    }
}

/// Whether sources have places of their own.
fn has_place(args: &TakingArgs) -> bool {
    args.file_pair_list.is_some() || args.src_base.is_some()
}

/// Whether something is asked for that only files have.
fn is_of_files(args: &TakingArgs) -> bool {
    let has_end = args.remove_after || args.move_after.is_some();
    has_end || args.range.is_some() || args.grow.is_some()
}
