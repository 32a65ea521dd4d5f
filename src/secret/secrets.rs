//! The one or two secrets of a node, as a file or a variable tells them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{Secret, SecretError, SecretKeys};

/// The most secrets at a time: the one to send with, and one more that is accepted while all are changed.
pub const MAX_SECRETS: usize = 2;

/// The most bytes of a file of secrets.
pub const MAX_SECRET_FILE_BYTES: u64 = 4_096;

/// The secrets that a node was given: none, or up to [`MAX_SECRETS`]. The first is used to send; all are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

/// Why a file gives no secrets. What it says is not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("the file of cluster secrets {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("the file of cluster secrets {} is refused: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SecretError,
    },
}

impl Secrets {
    /// These, the one to send with first.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, SecretError> {
        if secrets.len() > MAX_SECRETS {
            return Err(SecretError::TooMany);
        }
        if let [first, second] = &secrets[..]
            && first == second
        {
            return Err(SecretError::Twice);
        }
        Ok(Self(secrets))
    }

    /// Reads one or two, parted by line ends, spaces or commas. What stands behind a `#` on a line is not read.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let told = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split([' ', '\t', ',']))
            .filter(|word| !word.is_empty());
        let secrets = told.map(Secret::parse).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err(SecretError::Missing);
        }
        Self::new(secrets)
    }

    /// Reads a file as [`Self::parse`] reads a text.
    pub fn read(path: &Path) -> Result<Self, SecretFileError> {
        let text = read_bounded(path).map_err(|source| SecretFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| SecretFileError::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of each for `cluster`, in their order.
    #[must_use]
    pub fn keys(&self, cluster: &str) -> Vec<SecretKeys> {
        let keys = self.0.iter();
        keys.map(|secret| SecretKeys::derive(secret, cluster))
            .collect()
    }
}

fn read_bounded(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?
        .take(MAX_SECRET_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_FILE_BYTES {
        let message = format!("it has more than {MAX_SECRET_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_people_wrote_is_read_otherwise_than_they_meant() {
        let (one, other) = (Secret::random(), Secret::random());
        let (first, second) = (one.reveal(), other.reveal());
        let both = Secrets::new(vec![one.clone(), other]).expect("two");
        let file = format!(
            "# since Monday\n{}\n\n{}   # until Friday\r\n",
            *first, *second
        );
        assert_eq!(Secrets::parse(&file), Ok(both.clone()));
        let variable = format!("{},{}", *first, *second);
        assert_eq!(Secrets::parse(&variable), Ok(both));
        let alone = Secrets::new(vec![one]).expect("one");
        assert_eq!(Secrets::parse(&format!("{}\n", *first)), Ok(alone));
        assert_eq!(Secrets::parse("# nothing\n\n"), Err(SecretError::Missing));
        let twice = format!("{}\n{}", *first, *first);
        assert_eq!(Secrets::parse(&twice), Err(SecretError::Twice));
        let three = format!("{variable} {}", *Secret::random().reveal());
        assert_eq!(Secrets::parse(&three), Err(SecretError::TooMany));
    }

    #[test]
    fn an_error_repeats_what_the_file_says() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("secrets");
        std::fs::write(&path, "gvsecret1_nearly-right").expect("it can be written");
        let error = Secrets::read(&path).expect_err("it is none");
        let told = format!("{error} {error:?}");
        assert!(
            told.contains("secrets") && !told.contains("nearly"),
            "{told}"
        );
        std::fs::write(&path, "#".repeat(5_000)).expect("it can be written");
        let error = Secrets::read(&path).expect_err("it is too long");
        assert!(
            matches!(error, SecretFileError::Unreadable { .. }),
            "{error}"
        );
    }
}
