//! A file that is written beside its place, and put there only when it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where a file is written until it is whole. Dropped before it was kept, it is removed.
#[derive(Debug)]
pub(super) struct Partial<'a> {
    place: &'a Path,
    path: PathBuf,
}

impl<'a> Partial<'a> {
    /// What is to be at `place`. Nothing is made yet.
    pub(super) fn of(place: &'a Path) -> Self {
        let mut path = place.to_owned().into_os_string();
        path.push(".partial");
        Self {
            place,
            path: path.into(),
        }
    }

    /// Where to write.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It is whole: it takes its place, and whatever was there goes.
    pub(super) fn keep(self) -> io::Result<()> {
        fs::rename(&self.path, self.place)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // Of one that was kept nothing is left here.
        let _left_behind = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_file_takes_its_place_or_is_left_behind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path().join("a");
        let names = || {
            let entries = fs::read_dir(directory.path()).expect("it can be read");
            let mut names: Vec<_> = entries
                .map(|it| it.expect("an entry").file_name())
                .collect();
            names.sort();
            names
        };
        fs::write(&place, "before").expect("written");
        let half = Partial::of(&place);
        fs::write(half.path(), "half").expect("written");
        assert_eq!(names(), ["a", "a.partial"]);
        drop(half);
        assert_eq!(names(), ["a"]);
        assert_eq!(fs::read(&place).expect("it is there"), b"before");
        let whole = Partial::of(&place);
        fs::write(whole.path(), "whole").expect("written");
        whole.keep().expect("it takes its place");
        assert_eq!(names(), ["a"]);
        assert_eq!(fs::read(&place).expect("it is there"), b"whole");
    }
}
