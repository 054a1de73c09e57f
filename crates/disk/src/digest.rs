//! Digests of files, read from front to back.

use std::os::fd::{AsFd, OwnedFd};

use haul_manifest::Digest;
use haul_wire::control::Resume;
use rustix::{
    fs::{Advice, Mode, OFlags, Stat, fadvise, fstat, openat},
    io::{Errno, pread},
};
use sha2::Digest as _;

/// Bytes read at a time: enough for the widest BLAKE3 kernel, and still in the second cache when it is
/// hashed.
const CHUNK: usize = 256 << 10;
/// From this size on a digest of samples looks at less than the whole.
const SAMPLED_MIN: u64 = 1 << 20;
/// Bytes of one sample, and how many there are.
const SAMPLE_LEN: u64 = 16 << 10;
const SAMPLES: u64 = 16;

/// What a file comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// BLAKE3 of all its bytes, holes as zeros: what `b3sum` says of it.
    pub blake3: Digest,
    /// SHA-256 of the same, where it was asked for.
    pub sha256: Option<[u8; 32]>,
}

/// Which digests are computed beside BLAKE3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigestOptions {
    /// SHA-256 (FIPS 180-4) too. Costs more than BLAKE3 does.
    pub sha256: bool,
}

/// A file on its way to its digests.
pub(crate) struct Digester {
    blake3: blake3::Hasher,
    sha256: Option<sha2::Sha256>,
    /// Bytes taken in.
    len: u64,
}

impl Digester {
    pub(crate) fn new(options: DigestOptions) -> Self {
        Self {
            blake3: blake3::Hasher::new(),
            sha256: options.sha256.then(sha2::Sha256::new),
            len: 0,
        }
    }

    /// Bytes taken in so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.len += bytes.len() as u64;
    }

    /// Takes in the file's bytes up to `end`.
    ///
    /// # Errors
    /// The system's; [`Errno::NODATA`] where the file ends before.
    pub(crate) fn read_up_to(
        &mut self,
        fd: impl AsFd,
        end: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        buffer.resize(CHUNK, 0);
        while self.len < end {
            let wanted = CHUNK.min(usize::try_from(end - self.len).unwrap_or(CHUNK));
            match pread(&fd, &mut buffer[..wanted], self.len) {
                Ok(0) => return Err(Errno::NODATA),
                Ok(len) => self.update(&buffer[..len]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Digests {
        Digests {
            blake3: self.blake3.finalize().into(),
            sha256: self.sha256.map(|sha256| sha256.finalize().into()),
        }
    }
}

/// The digests of bytes that are all here.
pub(crate) fn of_bytes<'a>(
    options: DigestOptions,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Digests {
    let mut digester = Digester::new(options);
    parts.into_iter().for_each(|part| digester.update(part));
    digester.finish()
}

/// The digests of a whole file of `size` bytes.
///
/// # Errors
/// As [`Digester::read_up_to`].
pub(crate) fn of_file(options: DigestOptions, fd: impl AsFd, size: u64) -> Result<Digests, Errno> {
    let mut digester = Digester::new(options);
    digester.read_up_to(fd, size, &mut Vec::new())?;
    Ok(digester.finish())
}

/// The digests of as many zeros.
pub(crate) fn of_zeros(options: DigestOptions, size: u64) -> Digests {
    let mut digester = Digester::new(options);
    let zeros = vec![0; CHUNK];
    while digester.len() < size {
        let len = CHUNK.min(usize::try_from(size - digester.len()).unwrap_or(CHUNK));
        digester.update(&zeros[..len]);
    }
    digester.finish()
}

/// Opens a regular file to read it, if it is still the one that was looked at.
///
/// # Errors
/// The system's; [`Errno::NOENT`] where another has taken its place.
pub(crate) fn open(dir: &OwnedFd, name: &[u8], seen: &Stat) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::empty())?;
    let stat = fstat(&fd)?;
    if (stat.st_dev, stat.st_ino) == (seen.st_dev, seen.st_ino) {
        Ok(fd)
    } else {
        Err(Errno::NOENT)
    }
}

/// A digest of samples of a file, by which a file that was changed behind an unchanged time is likely,
/// but not sure, to be found out: of a large one, its beginning, its end and what lies evenly between.
///
/// # Errors
/// As [`Digester::read_up_to`].
pub(crate) fn of_samples(fd: impl AsFd, size: u64) -> Result<[u8; 32], Errno> {
    if size < SAMPLED_MIN {
        return of_file(DigestOptions::default(), fd, size).map(|digests| digests.blake3);
    }
    // Reading ahead would be reading everything.
    let _ = fadvise(&fd, 0, None, Advice::Random);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    let mut buffer = Vec::new();
    for sample in 0..SAMPLES {
        let start = (size - SAMPLE_LEN) / (SAMPLES - 1) * sample;
        let start = if sample == SAMPLES - 1 {
            size - SAMPLE_LEN
        } else {
            start
        };
        let mut digester = Digester::new(DigestOptions::default());
        digester.len = start;
        digester.read_up_to(&fd, start + SAMPLE_LEN, &mut buffer)?;
        hasher.update(&digester.finish().blake3);
    }
    Ok(hasher.finalize().into())
}

/// The digest by which a file is compared with one that is there, where any is wanted.
///
/// # Errors
/// As [`Digester::read_up_to`].
pub(crate) fn to_compare(
    compare: Resume,
    fd: impl AsFd,
    size: u64,
) -> Result<Option<Digest>, Errno> {
    match compare {
        Resume::Never | Resume::Attributes => Ok(None),
        Resume::Samples => of_samples(fd, size).map(Some),
        Resume::Digest => {
            let digests = of_file(DigestOptions::default(), fd, size)?;
            Ok(Some(digests.blake3))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    /// From the test vectors of the BLAKE3 project (empty input, and 1,025 bytes 0, 1, …, 250, 0, …)
    /// and FIPS 180-4's `abc`.
    #[test]
    fn published_digests_come_out() {
        let hex = |bytes: [u8; 32]| bytes.map(|byte| format!("{byte:02x}")).concat();
        let options = DigestOptions { sha256: true };
        assert_eq!(
            hex(of_bytes(options, []).blake3),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        let input: Vec<u8> = (0..1025).map(|at| (at % 251) as u8).collect();
        let parts = [&input[..7], &input[7..1024], &input[1024..]];
        assert_eq!(
            hex(of_bytes(options, parts).blake3),
            "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"
        );
        assert_eq!(
            hex(of_bytes(options, [&b"abc"[..]]).sha256.unwrap()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_file_is_its_bytes_holes_included_and_no_more() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"front").unwrap();
        file.seek(SeekFrom::Start(300_000)).unwrap();
        file.write_all(b"back").unwrap();
        let mut bytes = vec![0; 300_004];
        bytes[..5].copy_from_slice(b"front");
        bytes[300_000..].copy_from_slice(b"back");
        let options = DigestOptions::default();
        let expected = of_bytes(options, [&bytes[..]]);
        assert_eq!(of_file(options, &file, 300_004), Ok(expected));
        assert_eq!(of_file(options, &file, 300_005), Err(Errno::NODATA));
    }

    #[test]
    fn samples_see_the_ends_and_the_size() {
        let mut file = tempfile::tempfile().unwrap();
        let size = 5 << 20;
        file.set_len(size).unwrap();
        let before = of_samples(&file, size).unwrap();
        assert_ne!(of_samples(&file, size - 1).unwrap(), before);
        for at in [0, size - 1] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(b"x").unwrap();
            assert_ne!(of_samples(&file, size).unwrap(), before, "{at}");
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(b"\0").unwrap();
        }
        assert_eq!(of_samples(&file, size).unwrap(), before);
    }
}
