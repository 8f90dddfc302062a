//! The swap of the configuration: who has heard of the new one has it, and the old one goes.

use layer7router::snapshot::Published;
use layer7router::sync::{Arc, AtomicBool, Ordering};
use loom::thread;

use crate::support::{check, snapshot};

/// A reload beside a worker and somebody who reads the number.
#[test]
fn a_reload_is_seen_by_the_next_exchange() {
    check(None, || {
        let published = Arc::new(Published::new(snapshot(1)));
        let first = Arc::downgrade(&published.current());
        let told = Arc::new(AtomicBool::new(false));
        let (ours, heard) = (Arc::clone(&published), Arc::clone(&told));
        let worker = thread::spawn(move || {
            let cached = ours.refresh(None);
            let told_before = heard.load(Ordering::Acquire);
            let fresh = ours.refresh(Some(Arc::clone(&cached)));
            assert!(fresh.generation >= cached.generation, "never back");
            assert!(!told_before || fresh.generation == 2, "the reload was over");
        });
        let ours = Arc::clone(&published);
        let reader = thread::spawn(move || {
            let number = ours.generation();
            assert!(ours.current().generation >= number, "a number is told only once its configuration is in force");
        });
        published.publish(Arc::new(snapshot(2)));
        told.store(true, Ordering::Release);
        assert_eq!((published.generation(), published.current().generation), (2, 2));
        worker.join().expect("no panic");
        reader.join().expect("no panic");
        assert!(first.upgrade().is_none(), "nobody holds on to the old one");
    });
}
