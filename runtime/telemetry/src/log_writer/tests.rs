use std::fs::{self, File};
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::SystemTime;

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// Only what a test asks for is written: no line waits for the clock.
fn started(workers: usize, lane_bytes: usize) -> (Registry, LogWriter) {
    let registry = Registry::new(workers);
    let config = LogWriterConfig { flush_interval: LONG, lane_bytes, ..LogWriterConfig::default() };
    let writer = LogWriter::start(workers, &registry, config).unwrap();
    (registry, writer)
}

fn numbered() -> Format {
    Format::parse("%CONNECTION_ID% %ROUTE_NAME%").unwrap()
}

fn log(lane: &mut LogLane, format: &Format, number: u64, text: &str) {
    let record = StreamRecord {
        connection_id: Some(number),
        route_name: Some(text),
        ..StreamRecord::new(SystemTime::UNIX_EPOCH)
    };
    lane.log(format, &record);
}

fn sum(registry: &Registry, of: fn(&AccessLogStats) -> u64) -> u64 {
    registry.access_logs.blocks().map(of).sum()
}

fn temp_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("ringway-telemetry-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn lines_of_all_workers_arrive_whole_and_in_order() {
    let dir = temp_dir("order");
    let (registry, writer) = started(2, 64 << 20);
    let file = writer.open(&dir.join("log"), FileOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let file = &file;
            scope.spawn(move || {
                let mut lane = file.lane(worker).unwrap();
                let format = numbered();
                for number in 0..20_000 {
                    log(&mut lane, &format, number, if worker == 0 { "zero" } else { "one" });
                }
            });
        }
    });
    assert!(writer.shutdown(LONG));
    let text = fs::read_to_string(dir.join("log")).unwrap();
    for name in ["zero", "one"] {
        let numbers = text.lines().filter_map(|line| line.strip_suffix(name)?.trim().parse::<u64>().ok());
        assert!(numbers.eq(0..20_000), "{name}");
    }
    assert_eq!(text.lines().count(), 40_000);
    assert_eq!(sum(&registry, |s| s.logs_written.value()), 40_000);
    assert_eq!(sum(&registry, |s| s.bytes_written.value()), text.len() as u64);
    assert_eq!(sum(&registry, |s| s.logs_dropped.value() + s.write_failed.value()), 0);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_blocked_writer_drops_and_counts_and_never_blocks_the_worker() {
    let (registry, writer) = started(1, 32 << 10);
    let (mut reader, blocked) = pipe().unwrap();
    let file = writer.attach(Output::over(File::from(OwnedFd::from(blocked)), "pipe"));
    let mut lane = file.lane(0).unwrap();
    let format = numbered();
    let text = "x".repeat(200);
    let dropped = |registry: &Registry| sum(registry, |s| s.logs_dropped.value());
    let mut logged = 0;
    // A pipe holds 64 KiB, the thread's buffer and the lane 32 each: nobody reads, so the thread comes to hang.
    while writer.flush(Duration::from_millis(20)) {
        (0..300).for_each(|number| log(&mut lane, &format, logged + number, &text));
        logged += 300;
        assert!(logged < 30_000, "the thread never hung");
    }
    let before = dropped(&registry);
    while dropped(&registry) < before + 100 {
        log(&mut lane, &format, logged, &text);
        logged += 1;
        assert!(logged < 60_000, "nothing was dropped");
    }

    let (received, all) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut bytes = String::new();
        reader.read_to_string(&mut bytes).unwrap();
        received.send(bytes).unwrap();
    });
    assert!(writer.flush(LONG));
    drop((lane, file));
    assert!(writer.shutdown(LONG));
    let bytes = all.recv().unwrap();
    reading.join().unwrap();
    assert_eq!(bytes.lines().count() as u64, logged - dropped(&registry));
    assert!(bytes.lines().all(|line| line.ends_with(&text)), "whole lines only");
    assert_eq!(sum(&registry, |s| s.logs_written.value() + s.logs_dropped.value()), logged);
}

#[test]
fn shutdown_is_bounded() {
    let (_registry, writer) = started(1, 1 << 20);
    let (reader, blocked) = pipe().unwrap();
    let file = writer.attach(Output::over(File::from(OwnedFd::from(blocked)), "pipe"));
    let mut lane = file.lane(0).unwrap();
    let format = numbered();
    for number in 0..1000 {
        log(&mut lane, &format, number, &"x".repeat(200));
    }
    assert!(!writer.shutdown(Duration::from_millis(1)));
    drop(reader);
}

#[test]
fn a_full_disk_is_counted_and_survived() {
    let (registry, writer) = started(1, 1 << 20);
    let file = writer.open(Path::new("/dev/full"), FileOptions::default()).unwrap();
    let mut lane = file.lane(0).unwrap();
    for round in 1..=3 {
        log(&mut lane, &numbered(), round, "lost");
        assert!(writer.flush(LONG));
        assert_eq!(sum(&registry, |s| s.write_failed.value()), round);
        assert_eq!(sum(&registry, |s| s.logs_dropped.value()), round);
    }
}

#[test]
fn a_closed_pipe_is_counted_and_survived() {
    let (registry, writer) = started(1, 1 << 20);
    let (reader, closed) = pipe().unwrap();
    drop(reader);
    let file = writer.attach(Output::over(File::from(OwnedFd::from(closed)), "pipe"));
    let mut lane = file.lane(0).unwrap();
    log(&mut lane, &numbered(), 1, "lost");
    assert!(writer.flush(LONG));
    assert_eq!(sum(&registry, |s| s.write_failed.value()), 1);
}

#[test]
fn reopening_follows_a_rename() {
    let dir = temp_dir("reopen");
    let (path, rotated) = (dir.join("log"), dir.join("log.1"));
    let (registry, writer) = started(1, 1 << 20);
    let file = writer.open(&path, FileOptions::default()).unwrap();
    let mut lane = file.lane(0).unwrap();
    let format = numbered();
    log(&mut lane, &format, 1, "a");
    fs::rename(&path, &rotated).unwrap();
    log(&mut lane, &format, 2, "b");
    writer.reopen();
    assert!(writer.flush(LONG));
    log(&mut lane, &format, 3, "c");
    assert!(writer.flush(LONG));
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "1 a\n2 b\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "3 c\n");

    // When the new file cannot be opened, the old one goes on.
    fs::rename(&path, &rotated).unwrap();
    fs::create_dir(&path).unwrap();
    writer.reopen();
    log(&mut lane, &format, 4, "d");
    assert!(writer.flush(LONG));
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "3 c\n4 d\n");
    assert_eq!(sum(&registry, |s| s.reopen_failed.value()), 1);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_path_is_opened_once_and_closed_after_its_last_line() {
    let dir = temp_dir("once");
    let path = dir.join("log");
    let (_registry, writer) = started(1, 1 << 20);
    let old = writer.open(&path, FileOptions::default()).unwrap();
    let new = writer.open(&path, FileOptions::default()).unwrap();
    assert!(Arc::ptr_eq(&old, &new));
    assert_eq!(new.name(), path.to_str().unwrap());
    assert!(new.lane(1).is_none());
    let mut lane = new.lane(0).unwrap();
    drop((old, new));
    log(&mut lane, &numbered(), 1, "last");
    drop(lane);
    // The file is retired now; what it was given still arrives.
    assert!(writer.flush(LONG));
    assert_eq!(fs::read_to_string(&path).unwrap(), "1 last\n");
    let again = writer.open(&path, FileOptions::default()).unwrap();
    log(&mut again.lane(0).unwrap(), &numbered(), 2, "more");
    assert!(writer.flush(LONG));
    assert_eq!(fs::read_to_string(&path).unwrap(), "1 last\n2 more\n");
    assert!(writer.open(&dir, FileOptions::default()).is_err(), "a directory is no log");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn lines_are_written_by_size_and_by_time_unasked() {
    for (flush_bytes, flush_interval, lines) in [(1 << 10, LONG, 100), (1 << 20, Duration::from_millis(1), 1)] {
        let registry = Registry::new(1);
        let config = LogWriterConfig { flush_bytes, flush_interval, lane_bytes: 1 << 20 };
        let writer = LogWriter::start(1, &registry, config).unwrap();
        let (mut reader, end) = pipe().unwrap();
        let file = writer.attach(Output::over(File::from(OwnedFd::from(end)), "pipe"));
        let mut lane = file.lane(0).unwrap();
        for round in 0..5 {
            for number in 0..lines {
                log(&mut lane, &numbered(), number, "a line of text");
            }
            // Blocks until the thread writes of its own accord, also after it was idle.
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            assert!(byte[0] == b'0' || round > 0);
        }
    }
}

/// A log of 100 bytes a file, whose lines are `number text`.
fn rotated(dir: &Path, lines: u64, keep: u32) -> (Registry, LogWriter) {
    let (registry, writer) = started(1, 1 << 20);
    let options = FileOptions { rotation: Some(Rotation { max_size: 100, keep }), mode: None };
    let file = writer.open(&dir.join("log"), options).unwrap();
    let mut lane = file.lane(0).unwrap();
    for number in 1..=lines {
        log(&mut lane, &numbered(), number, "0123456789");
        if number % 7 == 0 {
            assert!(writer.flush(LONG));
        }
    }
    assert!(writer.flush(LONG));
    (registry, writer)
}

#[test]
fn rotation_loses_no_line_and_keeps_to_size_and_number() {
    let dir = temp_dir("rotate");
    let (registry, _writer) = rotated(&dir, 300, 100);
    let mut files: Vec<String> = Vec::new();
    let read = |name: String| fs::read_to_string(dir.join(name)).ok();
    files.extend((1..).map_while(|number| read(format!("log.{number}"))));
    files.reverse();
    files.extend(read("log".to_owned()));
    assert!(files.iter().all(|file| file.len() <= 100 && file.ends_with('\n')), "{files:?}");
    assert_eq!(sum(&registry, |s| s.rotations.value()), files.len() as u64 - 1);
    let all = files.concat();
    let numbers = all.lines().map(|line| line.strip_suffix(" 0123456789").unwrap().parse::<u64>().unwrap());
    assert!(numbers.eq(1..=300), "each once and in order");
    assert_eq!(sum(&registry, |s| s.rotate_failed.value() + s.logs_dropped.value()), 0);

    let few = temp_dir("rotate-few");
    let (_registry, _writer) = rotated(&few, 300, 2);
    let mut names: Vec<_> = fs::read_dir(&few).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["log", "log.1", "log.2"]);
    [dir, few].into_iter().for_each(|dir| fs::remove_dir_all(dir).unwrap());
}

#[test]
fn a_rotation_that_fails_costs_no_line() {
    let dir = temp_dir("rotate-fails");
    fs::create_dir_all(dir.join("log.1/in the way")).unwrap();
    fs::create_dir_all(dir.join("log.2/in the way")).unwrap();
    let (registry, _writer) = rotated(&dir, 40, 2);
    let text = fs::read_to_string(dir.join("log")).unwrap();
    assert_eq!(text.lines().count(), 40);
    let failed = sum(&registry, |s| s.rotate_failed.value());
    assert!((1..10).contains(&failed), "tried again now and then, not at each line: {failed}");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_long_line_has_a_file_of_its_own_and_options_change() {
    let dir = temp_dir("rotate-long");
    let (_registry, writer) = rotated(&dir, 1, 9);
    let file = writer.open(&dir.join("log"), FileOptions::default()).unwrap();
    let mut lane = file.lane(0).unwrap();
    writer.configure(&file, FileOptions { rotation: Some(Rotation { max_size: 100, keep: 9 }), mode: Some(0o600) });
    log(&mut lane, &numbered(), 2, &"x".repeat(500));
    log(&mut lane, &numbered(), 3, "short");
    assert!(writer.flush(LONG));
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(
        (read("log.2").as_str(), read("log.1").len(), read("log").as_str()),
        ("1 0123456789\n", 503, "3 short\n")
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.join("log")).unwrap().permissions());
    assert_eq!(mode & 0o077, 0);
    writer.configure(&file, FileOptions::default());
    log(&mut lane, &numbered(), 4, &"x".repeat(500));
    assert!(writer.flush(LONG));
    assert_eq!(read("log").lines().count(), 2);
    fs::remove_dir_all(dir).unwrap();
}
