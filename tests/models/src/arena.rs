//! Slices: never in two hands, and all of them come back, also after a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use layer7router::arena::Arena;
use layer7router::sync::Arc;
use loom::thread;

use crate::support::check;

/// Two workers, two sessions each, on slices that just suffice.
#[test]
fn slices_are_in_one_hand_and_come_back() {
    check(None, || {
        let arena = Arena::new(4, 8);
        let session = |arena: &Arc<Arena>, mark: u8| {
            let (mut first, mut second) = arena.lease_pair();
            first.fill(mark);
            second.fill(mark + 1);
            // The other worker may do what it likes meanwhile.
            assert!(arena.free() <= 2);
            assert!(first.iter().all(|&byte| byte == mark) && second.iter().all(|&byte| byte == mark + 1));
            first.give_back();
            assert!(first.is_empty());
        };
        let ours = Arc::clone(&arena);
        let other = thread::spawn(move || {
            session(&ours, 1);
            session(&ours, 3);
        });
        let faulted = catch_unwind(AssertUnwindSafe(|| {
            let _pair = arena.lease_pair();
            std::panic::resume_unwind(Box::new("as a fault"));
        }));
        assert!(faulted.is_err());
        session(&arena, 5);
        other.join().expect("no panic");
        assert_eq!(arena.free(), 4);
        assert!((2..=4).contains(&arena.touched()));
    });
}
