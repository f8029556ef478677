//! Which directory entries decide what a path reads: the file itself and every symbolic link on the way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// As many links as Linux follows in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The directories to watch for a path, by their real paths, each with its identity (a directory that was replaced
/// by another of the same path must be watched anew) and the entries in it that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) directories: BTreeMap<PathBuf, Watched>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// Device and inode.
    pub(super) identity: (u64, u64),
    pub(super) names: BTreeSet<OsString>,
}

impl Plan {
    /// Follows `path` as the kernel would. A path that leads nowhere gives the deepest directory there is and the
    /// entry that is missing in it, so that its appearance is seen.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        let mut plan = Self::default();
        let mut real = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = parts(&absolute).collect();
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                real.pop();
                continue;
            }
            let entry = real.join(&part);
            match fs::symlink_metadata(&entry) {
                Ok(meta) if meta.is_symlink() => {
                    plan.add(&real, part);
                    links += 1;
                    if links > MAX_LINKS {
                        break; // reading it reports the loop; a change of any link in it is seen
                    }
                    let target = fs::read_link(&entry)?;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                Ok(_) if rest.is_empty() => plan.add(&real, part),
                Ok(_) => real = entry,
                Err(_) => {
                    plan.add(&real, part);
                    break;
                }
            }
        }
        Ok(plan)
    }

    /// The paths whose events matter: the entries, and the directories themselves.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().flat_map(|(directory, watched)| {
            watched.names.iter().map(|name| directory.join(name)).chain([directory.clone()])
        })
    }

    fn add(&mut self, directory: &Path, name: OsString) {
        // A directory that vanishes between two look-ups has no identity; the next plan finds what replaced it.
        let identity = fs::metadata(directory).map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
        let watched = self.directories.entry(directory.to_owned()).or_default();
        watched.identity = identity;
        watched.names.insert(name);
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
