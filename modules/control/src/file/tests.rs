//! Real files, real events. Each wait is bounded by a generous limit and ends with the event itself; polling is set
//! so slow that only file events can explain what is seen, but for the tests of polling.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn by_events() -> FileOptions {
    FileOptions { poll: Duration::from_secs(3600), ..FileOptions::default() }
}

fn by_polling() -> FileOptions {
    FileOptions { poll: Duration::from_millis(20), events: false, ..FileOptions::default() }
}

fn source(path: &Path, options: FileOptions) -> FileSource {
    FileSource::new(path, options)
}

async fn next(source: &mut FileSource) -> Result<Update, SourceError> {
    timeout(LIMIT, source.next()).await.expect("a change must be seen")
}

async fn text(source: &mut FileSource) -> String {
    next(source).await.expect("the file must be readable").text.to_string()
}

/// Nothing is yielded for some debounce times on. A slow machine can only make this see less, never fail.
async fn nothing_more(source: &mut FileSource, options: &FileOptions) {
    let quiet = options.debounce * 4;
    assert!(timeout(quiet, source.next()).await.is_err(), "nothing changed, yet something was yielded");
}

/// A source that watches a file of text `one`, with that reading taken.
async fn started(directory: &TempDir) -> (PathBuf, FileSource) {
    let path = directory.path().join("config.yaml");
    fs::write(&path, "one").unwrap();
    let mut source = source(&path, by_events());
    assert_eq!(text(&mut source).await, "one");
    (path, source)
}

#[tokio::test]
async fn the_first_reading_comes_at_once_and_names_the_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, "workers: 2").unwrap();
    let before = SystemTime::now();
    let update = next(&mut source(&path, by_events())).await.unwrap();
    assert_eq!(update.origin, format!("file {}", path.display()));
    assert_eq!(&*update.text, "workers: 2");
    assert!(update.at >= before && update.at <= SystemTime::now());
}

#[tokio::test]
async fn a_write_in_place_is_seen() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    fs::write(&path, "two").unwrap();
    assert_eq!(text(&mut source).await, "two");
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b" three").unwrap();
    assert_eq!(text(&mut source).await, "two three");
}

#[tokio::test]
async fn a_file_written_in_pieces_is_read_once() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    let mut file = File::create(&path).unwrap();
    for piece in ["a", "b", "c"] {
        file.write_all(piece.as_bytes()).unwrap();
    }
    drop(file);
    assert_eq!(text(&mut source).await, "abc");
    nothing_more(&mut source, &by_events()).await;
}

#[tokio::test]
async fn an_atomic_rename_over_it_is_seen_each_time() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    for content in ["two", "three", "four"] {
        let fresh = directory.path().join(".config.yaml.tmp");
        fs::write(&fresh, content).unwrap();
        fs::rename(&fresh, &path).unwrap();
        assert_eq!(text(&mut source).await, content);
    }
}

#[tokio::test]
async fn an_editor_that_moves_the_old_file_away_is_followed() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    for content in ["two", "three"] {
        fs::rename(&path, directory.path().join("config.yaml~")).unwrap();
        fs::write(&path, content).unwrap();
        assert_eq!(text(&mut source).await, content);
    }
}

/// As a Kubernetes volume is laid out: the file is a link through `..data`, which is a link to a dated directory,
/// and an update renames a new `..data` over the old one.
#[tokio::test]
async fn a_swap_of_a_kubernetes_volume_is_seen_each_time() {
    let directory = TempDir::new().unwrap();
    let mount = directory.path();
    let swap = |stamp: &str, content: &str| {
        fs::create_dir(mount.join(stamp)).unwrap();
        fs::write(mount.join(stamp).join("config.yaml"), content).unwrap();
        symlink(stamp, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    swap("..2026_01", "one");
    symlink("..data/config.yaml", mount.join("config.yaml")).unwrap();
    let mut source = source(&mount.join("config.yaml"), by_events());
    assert_eq!(text(&mut source).await, "one");
    for (old, new, content) in [("..2026_01", "..2026_02", "two"), ("..2026_02", "..2026_03", "three")] {
        swap(new, content);
        fs::remove_dir_all(mount.join(old)).unwrap();
        assert_eq!(text(&mut source).await, content);
    }
    nothing_more(&mut source, &by_events()).await;
}

#[tokio::test]
async fn a_write_behind_a_link_into_another_directory_is_seen() {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let target = there.path().join("real.yaml");
    fs::write(&target, "one").unwrap();
    symlink(&target, here.path().join("config.yaml")).unwrap();
    let mut source = source(&here.path().join("config.yaml"), by_events());
    assert_eq!(text(&mut source).await, "one");
    fs::write(&target, "two").unwrap();
    assert_eq!(text(&mut source).await, "two");
    let other = there.path().join("other.yaml");
    fs::write(&other, "three").unwrap();
    symlink(&other, here.path().join("new")).unwrap();
    fs::rename(here.path().join("new"), here.path().join("config.yaml")).unwrap();
    assert_eq!(text(&mut source).await, "three");
    fs::write(&other, "four").unwrap();
    assert_eq!(text(&mut source).await, "four");
}

#[tokio::test]
async fn deletion_is_told_once_and_creation_afterwards_is_seen() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    fs::remove_file(&path).unwrap();
    let error = next(&mut source).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().ends_with("config.yaml: does not exist; create it or correct the path"), "{error}");
    fs::write(directory.path().join("unrelated"), "x").unwrap();
    nothing_more(&mut source, &by_events()).await;
    assert!(source.status().borrow().error.is_some());
    fs::write(&path, "two").unwrap();
    assert_eq!(text(&mut source).await, "two");
    assert_eq!(source.status().borrow().error, None);
}

#[tokio::test]
async fn deletion_and_creation_in_one_stroke_is_no_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, "one").unwrap();
    let mut source = source(&path, FileOptions { grace: LIMIT * 10, ..by_events() });
    assert_eq!(text(&mut source).await, "one");
    fs::remove_file(&path).unwrap();
    assert!(timeout(Duration::from_millis(100), source.next()).await.is_err(), "it may still come back");
    fs::write(&path, "two").unwrap();
    assert_eq!(text(&mut source).await, "two");
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_followed() {
    let directory = TempDir::new().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let path = home.join("config.yaml");
    fs::write(&path, "one").unwrap();
    let mut source = source(&path, by_events());
    assert_eq!(text(&mut source).await, "one");
    fs::remove_dir_all(&home).unwrap();
    fs::create_dir(&home).unwrap();
    fs::write(&path, "two").unwrap();
    assert_eq!(text(&mut source).await, "two");
    fs::write(&path, "three").unwrap();
    assert_eq!(text(&mut source).await, "three");
}

#[tokio::test]
async fn a_file_that_comes_late_is_an_error_first() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("deep/er/config.yaml");
    let mut source = source(&path, by_events());
    next(&mut source).await.unwrap_err();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "one").unwrap();
    assert_eq!(text(&mut source).await, "one");
}

#[tokio::test]
async fn the_same_content_written_again_yields_nothing() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    fs::write(&path, "one").unwrap();
    nothing_more(&mut source, &by_events()).await;
    fs::write(&path, "two").unwrap();
    assert_eq!(text(&mut source).await, "two");
}

#[tokio::test]
async fn a_reload_yields_unchanged_content_and_repeats_an_error() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    let reload = source.reload();
    reload.ask();
    reload.ask();
    assert_eq!(text(&mut source).await, "one");
    nothing_more(&mut source, &by_events()).await;
    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        reload.ask();
        next(&mut source).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_next_that_is_dropped_while_it_waits_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    fs::write(&path, "two").unwrap();
    let text = timeout(LIMIT, async {
        loop {
            if let Ok(update) = timeout(Duration::from_millis(7), source.next()).await {
                return update.unwrap().text;
            }
        }
    });
    assert_eq!(&*text.await.expect("the change must be seen"), "two");
}

#[tokio::test]
async fn polling_alone_sees_changes_and_errors() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, "one").unwrap();
    let mut source = source(&path, by_polling());
    assert_eq!(text(&mut source).await, "one");
    fs::write(&path, "two, longer").unwrap();
    assert_eq!(text(&mut source).await, "two, longer");
    fs::remove_file(&path).unwrap();
    next(&mut source).await.unwrap_err();
    fs::write(&path, "three").unwrap();
    assert_eq!(text(&mut source).await, "three");
}

#[tokio::test]
async fn a_pipe_is_read_once_and_reloaded_from_memory() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"one").unwrap();
    drop(writer);
    let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
    let mut source = source(&path, FileOptions { poll: Duration::from_millis(10), ..by_events() });
    assert_eq!(text(&mut source).await, "one");
    nothing_more(&mut source, &by_events()).await;
    source.reload().ask();
    assert_eq!(text(&mut source).await, "one");
}

#[tokio::test]
async fn what_is_no_configuration_is_an_error_that_says_why() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, b"abc\xff").unwrap();
    let error = next(&mut source(&path, by_events())).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::NotUtf8 { offset: 3 }), "{error}");

    let small = FileOptions { limit: 3, ..by_events() };
    fs::write(&path, "four").unwrap();
    let error = next(&mut source(&path, small.clone())).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::TooLarge { limit: 3 }), "{error}");
    fs::write(&path, "abc").unwrap();
    assert_eq!(text(&mut source(&path, small)).await, "abc");

    let error = next(&mut source(directory.path(), by_events())).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Io(_)), "{error}");

    let around = directory.path().join("around.yaml");
    symlink("around.yaml", &around).unwrap();
    next(&mut source(&around, by_events())).await.unwrap_err();
}

#[tokio::test]
async fn a_verdict_stands_until_the_next_reading() {
    let directory = TempDir::new().unwrap();
    let (path, mut source) = started(&directory).await;
    let status = source.status();
    source.report(Verdict::Published { generation: 4 }).await;
    assert_eq!(status.borrow().verdict, Some(Verdict::Published { generation: 4 }));
    assert_eq!(status.borrow().unwatched, None);
    fs::write(&path, "two").unwrap();
    let at = next(&mut source).await.unwrap().at;
    assert_eq!(*status.borrow(), FileStatus { read_at: Some(at), ..FileStatus::default() });
    let reason = "line 1".to_owned();
    source.report(Verdict::Rejected { reason: reason.clone() }).await;
    assert_eq!(status.borrow().verdict, Some(Verdict::Rejected { reason }));
}
