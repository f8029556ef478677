use super::*;

#[test]
fn slicing_never_leaves_the_memory() {
    for mut chunk in [Chunk::from(b"hello".to_vec()), Chunk::from("hello"), Chunk::from(Bytes::from_static(b"hello"))] {
        assert_eq!(chunk.split_to(2).as_slice(), b"he");
        assert_eq!(chunk.as_slice(), b"llo");
        chunk.truncate(9);
        chunk.advance(1);
        assert_eq!(chunk.as_slice(), b"lo");
        chunk.advance(9);
        assert!(chunk.is_empty());
    }
    assert_eq!(Chunk::shared(Rc::new(b"abc".to_vec()), 2, 9).as_slice(), b"c");
    assert_eq!(Chunk::shared(Rc::new(b"abc".to_vec()), 9, 9).as_slice(), b"");
}

#[test]
fn a_chunk_is_exclusive_until_it_is_cloned() {
    struct Writable(Box<[u8]>);
    impl Storage for Writable {
        fn slice(&self, start: usize, len: usize) -> &[u8] {
            &self.0[start..start + len]
        }

        fn writable(&self, start: usize, len: usize) -> Option<NonNull<[u8]>> {
            Some(NonNull::from(&self.0[start..start + len]))
        }
    }

    let mut tail = Chunk::exclusive(Rc::new(Writable(Box::new(*b"abcdef"))), 1, 5);
    let mut head = tail.split_to(2);
    assert_eq!(head.exclusive_part().map(NonNull::len), Some(2));
    assert_eq!(tail.exclusive_part().map(NonNull::len), Some(3));
    let mut copy = head.clone();
    assert!(head.exclusive_part().is_none() && copy.exclusive_part().is_none());
    drop(copy);
    assert!(head.exclusive_part().is_none(), "what was cloned from it may live on elsewhere");
    assert!(tail.exclusive_part().is_some());
    assert!(Chunk::from(b"abc".to_vec()).exclusive_part().is_none());
}

#[test]
fn an_empty_chunk_holds_no_memory() {
    let memory = Rc::new(b"abc".to_vec());
    let whole = || Chunk::shared(Rc::<Vec<u8>>::clone(&memory), 0, 3);
    let mut truncated = whole();
    truncated.truncate(0);
    let empty = [Chunk::shared(Rc::<Vec<u8>>::clone(&memory), 3, 1), truncated, whole().split_to(0)];
    assert_eq!((empty.iter().all(Chunk::is_empty), Rc::strong_count(&memory)), (true, 1));
}

#[test]
fn a_queue_counts_its_bytes() {
    let mut queue = ChunkQueue::new();
    queue.push(Chunk::from("abc"));
    queue.push(Chunk::EMPTY);
    queue.push(Chunk::from("defg"));
    assert_eq!((queue.count(), queue.bytes()), (2, 7));
    queue.advance(4);
    assert_eq!((queue.count(), queue.bytes()), (1, 3));
    assert_eq!(queue.pop().as_deref(), Some(&b"efg"[..]));
    assert!(queue.is_empty());
}

#[test]
fn what_every_connection_holds_is_small() {
    assert_eq!((size_of::<Chunk>(), size_of::<ChunkQueue>()), (24, 40));
}
