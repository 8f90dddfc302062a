//! Giving root up: from the moment on when ports are bound, the process is `user` and `group`, in every thread and for good.
//!
//! By libc's functions, through nix: the system calls change one thread alone, and libc tells all others. (rustix makes the
//! bare calls, so it is not used here.) The threads that carry clients begin later and are born so; those for signals are older.
//!
//! Whatever has a path is opened, bound and written as that user: log files, Unix sockets. Then a start that succeeds proves that
//! SIGUSR1 and a reload can do the same, and root never follows a name through a directory that the user can write to. The one
//! exception is `pid_file`. Not here: who that is (`config::account`), when it happens (`main`).

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

use crate::config::model::Identity;

/// Why the process cannot be `user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It is someone else, who may not become another.
    NotRoot {
        /// `user`
        wanted: String,
        /// The number of who it is.
        is: u32,
    },
    /// A system call failed: its name, and `user`.
    Call(&'static str, String, Errno),
    /// It could be root again.
    NotForGood(String),
}

/// From here on nothing that this process might execute gains a right by it (set-user-id files, file capabilities). It
/// executes nothing, so this costs nothing. For the calling thread and those it starts.
pub fn gain_nothing() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Who is to be become: nobody where there is no `user`, or where the process is that user already. Asked before anything is
/// bound, so that whoever is not root hears of it first.
pub fn to_become(identity: Option<&Identity>) -> Result<Option<&Identity>, Refused> {
    match identity {
        Some(identity) if Uid::effective().is_root() => Ok(Some(identity)),
        Some(identity) if !is(identity) => {
            Err(Refused::NotRoot { wanted: identity.user.clone(), is: Uid::effective().as_raw() })
        }
        _ => Ok(None),
    }
}

/// Becomes `user`, in every thread, with no way back.
pub fn become_user(identity: &Identity) -> Result<(), Refused> {
    let failed = |call: &'static str| move |errno| Refused::Call(call, identity.user.clone(), errno);
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    // Groups first: afterwards there is no right to change them.
    setgroups(&groups).map_err(failed("setgroups"))?;
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    // A process that kept its capabilities is root in all but name. The kernel takes all of them or none, so this one tells.
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() { Err(Refused::NotForGood(identity.user.clone())) } else { Ok(()) }
}

/// Whether the process is exactly this user and group: real, effective and saved.
fn is(identity: &Identity) -> bool {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let users = getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3]);
    let groups = getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3]);
    users && groups
}

/// An error of opening a path, with the user whose rights were asked for.
pub fn explained(error: io::Error, identity: Option<&Identity>) -> io::Error {
    match identity {
        Some(Identity { user, .. }) if error.kind() == io::ErrorKind::PermissionDenied => io::Error::new(
            error.kind(),
            format!("{error}; it is opened as user {user}, who needs to own it or its folder"),
        ),
        _ => error,
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot { wanted, is } => write!(
                f,
                "cannot become user {wanted}: this process is user {is}, and only root can become another; start it as \
                 root, or take `user` and `group` out of [server]"
            ),
            Self::Call(call, wanted, errno) => write!(
                f,
                "cannot become user {wanted}: {call}: {}; root needs the capabilities CAP_SETUID and CAP_SETGID for it",
                errno.desc()
            ),
            Self::NotForGood(wanted) => write!(
                f,
                "cannot become user {wanted} for good: there is a way back to root (secure bits that keep capabilities?)"
            ),
        }
    }
}
