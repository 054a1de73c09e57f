use std::{fmt, str::FromStr};

/// How the datagrams of a session are sealed. Negotiated inside SSH only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SuiteId {
    /// AES-128-CFB with AES-128-CMAC (default).
    Aes128Cfb = 1,
    /// AES-256-CFB with AES-256-CMAC.
    Aes256Cfb = 3,
    /// AES-128-GCM.
    Aes128Gcm = 4,
    /// AES-256-GCM.
    Aes256Gcm = 5,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305 = 6,
    /// No encryption, AES-128-CMAC. Both ends must ask for it.
    NoneCmac = 7,
}

impl SuiteId {
    /// All suites, the default first.
    pub const ALL: [Self; 6] = [
        Self::Aes128Cfb,
        Self::Aes256Cfb,
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
        Self::NoneCmac,
    ];

    /// The name used on the command line and in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128Cfb => "aes128cfb",
            Self::Aes256Cfb => "aes256cfb",
            Self::Aes128Gcm => "aes128gcm",
            Self::Aes256Gcm => "aes256gcm",
            Self::ChaCha20Poly1305 => "chacha20poly1305",
            Self::NoneCmac => "none-cmac",
        }
    }

    /// The suite with this number on the wire; unknown numbers are the caller's to ignore.
    pub fn from_wire(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| *suite as u8 == id)
    }
}

impl fmt::Display for SuiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a cipher name was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSuite {
    /// A real cipher that is broken or withdrawn.
    #[error("cipher \"{name}\" is not offered: {reason}; use aes128cfb or aes256gcm")]
    Refused {
        /// As typed.
        name: String,
        /// Why nobody should use it.
        reason: &'static str,
    },
    /// Not a name we know.
    #[error(
        "unknown cipher \"{0}\" (one of aes128cfb, aes256cfb, aes128gcm, aes256gcm, chacha20poly1305, none-cmac)"
    )]
    Unknown(String),
}

impl FromStr for SuiteId {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        let lower = name.to_ascii_lowercase().replace('_', "-");
        let plain = lower.replace('-', "");
        if let Some(suite) = Self::ALL
            .into_iter()
            .find(|s| s.name().replace('-', "") == plain)
        {
            return Ok(suite);
        }
        let reason = match plain.as_str() {
            "aes128" => return Ok(Self::Aes128Cfb),
            "aes256" => return Ok(Self::Aes256Cfb),
            "3des" | "3des168" | "3des192" | "tdes" | "tripledes" | "desede3" | "des3" => {
                "64-bit blocks make it unsafe after 32 GiB, 27 s at 10 Gbit/s (Sweet32), and NIST has withdrawn it"
            }
            "rc4" | "arcfour" | "arc4" => {
                "its key stream is biased and it is prohibited (RFC 7465)"
            }
            "des" => "56-bit keys are searched in a day",
            "blowfish" | "bf" | "cast5" | "idea" => {
                "64-bit blocks make it unsafe after 32 GiB (Sweet32)"
            }
            "aes128cbc" | "aes192cbc" | "aes256cbc" => {
                "CBC invites padding oracles and cannot be sealed per datagram"
            }
            "none" | "null" => "data without a tag could be altered unseen; ask for none-cmac",
            _ => return Err(UnknownSuite::Unknown(name.to_owned())),
        };
        Err(UnknownSuite::Refused {
            name: name.to_owned(),
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for suite in SuiteId::ALL {
            assert_eq!(suite.name().parse(), Ok(suite));
            assert_eq!(SuiteId::from_wire(suite as u8), Some(suite));
        }
        assert_eq!("AES-128".parse(), Ok(SuiteId::Aes128Cfb));
    }

    #[test]
    fn broken_ciphers_are_refused_with_a_reason() {
        for name in [
            "3des",
            "3DES-192",
            "rc4",
            "arcfour",
            "des",
            "none",
            "aes128-cbc",
        ] {
            let error = name.parse::<SuiteId>().expect_err(name);
            assert!(
                matches!(error, UnknownSuite::Refused { .. }),
                "{name}: {error}"
            );
        }
        assert!(matches!(
            "rot13".parse::<SuiteId>(),
            Err(UnknownSuite::Unknown(_))
        ));
    }
}
