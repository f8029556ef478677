//! A memory cgroup for one proxy: its charge counts what the kernel holds for it, sockets included.

use std::fs;
use std::path::{Path, PathBuf};

const V2_ROOT: &str = "/sys/fs/cgroup";

/// A group of its own, removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    dir: PathBuf,
    charge: PathBuf,
}

impl Cgroup {
    /// A new group under `parent`, or under this process's own cgroup v2. Fails with the reason.
    pub(crate) fn create(parent: Option<&Path>, name: &str) -> Result<Self, String> {
        let parent = match parent {
            Some(parent) => parent.to_owned(),
            None => own_v2_group()?,
        };
        let dir = parent.join(format!("ringway-bench-{}-{name}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| format!("no cgroup under {}: {e}", parent.display()))?;
        let mut group = Self { charge: dir.join("memory.current"), dir };
        if !group.charge.exists() {
            group.charge = group.dir.join("memory.usage_in_bytes");
        }
        if group.charge.exists() {
            Ok(group)
        } else {
            Err(format!("the cgroup {} has no memory controller", parent.display()))
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes charged to the group now.
    pub(crate) fn charge(&self) -> Option<u64> {
        fs::read_to_string(&self.charge).ok()?.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes were waited for; what still holds it is for the system to show.
        fs::remove_dir(&self.dir).unwrap_or_default();
    }
}

fn own_v2_group() -> Result<PathBuf, String> {
    let root = Path::new(V2_ROOT);
    if !root.join("cgroup.controllers").exists() {
        return Err("the memory controller is not on cgroup v2 here; --cgroup names a group to use".into());
    }
    let text = fs::read_to_string("/proc/self/cgroup").map_err(|e| format!("/proc/self/cgroup: {e}"))?;
    let path = v2_path(&text).ok_or("this process is in no cgroup v2")?;
    Ok(root.join(path.trim_start_matches('/')))
}

fn v2_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_group_is_the_line_of_hierarchy_zero() {
        assert_eq!(v2_path("4:memory:/a\n0::/user.slice/x\n"), Some("/user.slice/x"));
        assert_eq!(v2_path("4:memory:/a\n"), None);
    }

    #[test]
    fn a_place_that_is_no_cgroup_is_refused_with_its_name() {
        let dir = crate::scratch::ScratchDir::new("cgroup").unwrap();
        let error = Cgroup::create(Some(dir.path()), "x").unwrap_err();
        assert!(error.contains("no memory controller"), "{error}");
        let error = Cgroup::create(Some(Path::new("/nonexistent")), "x").unwrap_err();
        assert!(error.contains("/nonexistent"), "{error}");
    }
}
