//! Company: the other sessions that a thread has in hand while it serves one.
//!
//! A worker runs several sessions at once (`round`), and must not let one of them wait for another's slow peer. So whatever
//! would block asks first whether there is company, then tries without waiting, and if that does not do, lets the others go:
//! another worker has them from then on, and this one may block for as long as it takes. Alone, which is what every thread is
//! that streams a body, nothing is asked and nothing is tried. Not here: who the others are, and who gets them.

use std::fmt::Debug;

/// Sessions that wait for the same thread.
pub trait Others: Debug {
    /// Whether there are any.
    fn are_there(&self) -> bool;
    /// They are somebody else's from now on, if anybody is left to have them.
    fn let_go(&self);
}

/// Who else waits for this thread; `Company::NONE`: nobody ever does.
#[derive(Debug, Clone, Copy)]
pub struct Company<'a>(Option<&'a dyn Others>);

impl<'a> Company<'a> {
    /// A thread that has one session in hand.
    pub const NONE: Self = Self(None);

    /// The others.
    pub fn of(others: &'a dyn Others) -> Self {
        Self(Some(others))
    }

    /// Whether somebody waits for this thread now.
    pub fn is_there(self) -> bool {
        self.0.is_some_and(Others::are_there)
    }

    /// This thread is about to block: nobody is to wait for it.
    pub fn let_go(self) {
        if let Some(others) = self.0.filter(|others| others.are_there()) {
            others.let_go();
        }
    }
}

/// Somebody who waits until he is let go.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct OneOther {
    /// Whether he has been.
    pub is_let_go: std::cell::Cell<bool>,
}

#[cfg(test)]
impl Others for OneOther {
    fn are_there(&self) -> bool {
        !self.is_let_go.get()
    }

    fn let_go(&self) {
        self.is_let_go.set(true);
    }
}
