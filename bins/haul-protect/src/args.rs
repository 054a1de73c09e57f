//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Encrypt files for keys or a passphrase, and decrypt them: age files, which age and rage read too.
#[derive(Debug, Parser)]
#[command(name = "haul-protect", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
FILE may be -, for standard input to standard output. Exit status: 0, done; else as haul --help
lists them: 2, the command line makes no sense; 3, some files failed; 20, no such file; 21, it may
not be read, or it is not for these keys; 22, the output is there already or cannot be written;
25, the file is damaged.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encrypt each FILE to FILE.age
    Encrypt(EncryptArgs),
    /// Decrypt each FILE.age to FILE
    Decrypt(DecryptArgs),
    /// Tell for whom files are and how long their contents are; no key is needed
    Inspect(InspectArgs),
    /// Let further recipients open files that one of the identities can open
    AddRecipient(AddArgs),
    /// Make a key: an identity, which stays secret, and its recipient, which others may have
    Keygen(KeygenArgs),
}

/// Whom for.
#[derive(Debug, clap::Args)]
pub(crate) struct ForWhom {
    /// Encrypt for the holder of this key, age1…; may be repeated
    #[arg(short, long, value_name = "KEY")]
    pub(crate) recipient: Vec<String>,
    /// Encrypt for the keys of this file, one a line; # begins a comment; may be repeated
    #[arg(short = 'R', long, value_name = "FILE")]
    pub(crate) recipients_file: Vec<PathBuf>,
}

/// A passphrase.
#[derive(Debug, clap::Args)]
pub(crate) struct PassphraseArgs {
    /// Use a passphrase, and ask for it on the terminal
    #[arg(short, long, conflicts_with = "passphrase_file")]
    pub(crate) passphrase: bool,
    /// Use the first line of this file as passphrase; /dev/fd/3 is what a script has open as 3
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Where the output goes.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Write to this file, or to standard output (-), instead of beside the one FILE
    #[arg(short, long, value_name = "FILE|-")]
    pub(crate) output: Option<PathBuf>,
    /// Replace what is there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// What the names of encrypted files end in
    #[arg(long, value_name = "SUFFIX", default_value = ".age", value_parser = suffix)]
    pub(crate) suffix: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EncryptArgs {
    #[command(flatten)]
    pub(crate) for_whom: ForWhom,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// What to encrypt
    #[arg(required = true)]
    pub(crate) file: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DecryptArgs {
    /// Decrypt with the keys of this file; may be repeated
    #[arg(short, long, value_name = "FILE")]
    pub(crate) identity: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Permissions of what is decrypted, in octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    pub(crate) mode: u32,
    /// What to decrypt
    #[arg(required = true)]
    pub(crate) file: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// What to look at
    #[arg(required = true)]
    pub(crate) file: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Open the files with the keys of this file; may be repeated
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) identity: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) for_whom: ForWhom,
    /// What to add them to; each is replaced when its new form is whole
    #[arg(required = true)]
    pub(crate) file: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct KeygenArgs {
    /// Write the identity to this file, which only you can read, instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

fn suffix(text: &str) -> Result<String, &'static str> {
    match text.is_empty() || text.contains('/') {
        true => Err("not a suffix: at least one character, and no slash"),
        false => Ok(text.to_owned()),
    }
}

fn mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or("not permissions: octal digits, as in 600 or 644")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Args::command().debug_assert();
        assert_eq!(mode("644"), Ok(0o644));
        assert!(mode("888").is_err() && mode("4755").is_err());
    }
}
