use std::io;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nobody to seal for.
    #[error("there is nobody to protect this for; name a recipient (age1…) or a passphrase")]
    NoRecipient,
    /// Text that is no public key.
    #[error(
        "{text:?} is no age recipient; those begin with age1, and haul-protect keygen makes one"
    )]
    BadRecipient {
        /// The text, at most its first 80 characters.
        text: String,
    },
    /// A secret key where a public one belongs. The key is not repeated.
    #[error("this is a secret key, not a recipient; name its public key, which begins with age1")]
    SecretRecipient,
    /// A key of SSH.
    #[error("SSH keys cannot be recipients here; make an age key with haul-protect keygen")]
    SshRecipient,
    /// A line of a file of keys that is no key. The line is not repeated: it may be a secret.
    #[error("line {line} of {file} is no {expected}; correct or remove it")]
    BadLine {
        /// The file, as it was named.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// A file of keys without any.
    #[error("there is no {expected} in {file}; put one on a line of its own")]
    NoKeys {
        /// The file, as it was named.
        file: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A file of keys that is itself encrypted.
    #[error("{file} is encrypted; decrypt it first, with haul-protect decrypt")]
    KeysEncrypted {
        /// The file, as it was named.
        file: String,
    },
    /// A file of keys cannot be read.
    #[error("cannot read {file}: {source}; check its name and permissions")]
    Keys {
        /// The file, as it was named.
        file: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A passphrase without a character.
    #[error("the passphrase is empty; choose one that nobody guesses")]
    EmptyPassphrase,
    /// A recipient is to be added to a file that has a passphrase.
    #[error(
        "a file with a passphrase can have no recipient beside it; decrypt it and encrypt it again"
    )]
    PassphraseAlone,
    /// No age file at all.
    #[error("this is no age file; it does not begin with {:?}", super::MAGIC)]
    NotAge,
    /// An age file as text.
    #[error("this is an armored age file; remove the armor first, with age -d or rage -d")]
    Armored,
    /// A format that came later.
    #[error("this age file has a version that is not known here; update haul")]
    UnknownVersion,
    /// The header makes no sense, or is longer than [`HEADER_LEN_MAX`](super::HEADER_LEN_MAX).
    #[error("the header of this age file is damaged; get the file again")]
    BadHeader,
    /// The header was altered: its code does not match the file's key.
    #[error("the header of this age file has been altered; get the file again")]
    AlteredHeader,
    /// None of the keys given opens it.
    #[error("none of these identities opens this file; it is for somebody else")]
    NotForUs,
    /// It has a passphrase, and none was given.
    #[error("this file has a passphrase; give it with --passphrase")]
    NeedsPassphrase,
    /// It is for keys, and only a passphrase was given.
    #[error("this file has no passphrase but recipients; give an identity with --identity")]
    NeedsIdentity,
    /// Another passphrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Opening would take too long and too much memory.
    #[error(
        "this file asks for 2^{required} steps of work for its passphrase, and 2^{max} are the \
         most: whoever made it may want to tie up this machine"
    )]
    TooMuchWork {
        /// What it asks for, as a power of two.
        required: u8,
        /// What is allowed.
        max: u8,
    },
    /// The file ends too early, at the edge of a chunk or within its header.
    #[error("the file is cut short; get all of it")]
    Truncated,
    /// A chunk is not what was sealed there: altered, moved from elsewhere, or cut.
    #[error("the file is damaged at byte {at} of its contents; get it again")]
    Damaged {
        /// Where the chunk begins in the plaintext.
        at: u64,
    },
    /// Something follows the last chunk.
    #[error("something was added at the end of the file; get it again")]
    Trailing,
    /// The plaintext is no longer what it was when the file was begun, or when this part of it was sealed before.
    #[error("the source changed at byte {at} or behind while it was being encrypted; begin again")]
    SourceChanged {
        /// Where the chunk begins in the plaintext.
        at: u64,
    },
    /// Bytes that are not in the file.
    #[error("bytes behind the end of the protected file were asked for")]
    OutOfRange,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Randomness(#[from] getrandom::Error),
}
