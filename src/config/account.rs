//! `user` and `group` of `[server]`: names or numbers, looked up when the file is read, so that `check` knows them too.
//!
//! Not here: becoming them (`crate::privilege`).

use nix::unistd::{Gid, Group, User, getgrouplist};

use super::build::Builder;
use super::diagnostics::{Fault, Report, quoted};
use super::model::Identity;
use super::schema;
use super::section::Section;
use super::words::digits;

/// Who knows names. The system's answer comes from passwd and whatever else nsswitch.conf names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// The system.
    System,
    /// Nobody: `nobody` and `nogroup` are what they are everywhere, any other name is unknown.
    Nothing,
}

/// The number that setresuid(2) and its like take for "leave it as it is".
const UNCHANGED: u32 = u32::MAX;
/// What `nobody` and `nogroup` are where nobody is asked.
const NOBODY: u32 = 65534;

/// One user.
struct Account {
    name: Option<String>,
    uid: u32,
    /// Its primary group, if it is known.
    gid: Option<u32>,
}

/// Both keys.
pub fn identity(b: &mut Builder<'_>, s: &Section) -> Option<Identity> {
    let accounts = b.accounts;
    let group = b.optional(s, &schema::GROUP, |_, text| accounts.group(text).map(|gid| (text.to_owned(), gid)));
    let Some(entry) = s.one(&schema::USER) else {
        if let Some(group) = s.one(&schema::GROUP) {
            let report = Report::new(group.at, "`group` has no effect without `user`");
            b.collector.report(report.help(format!("write `user = {}`", schema::USER.example)));
        }
        return None;
    };
    let user = b.read(entry, |_, text| accounts.user(text))?;
    let text = entry.value.as_ref().map(|value| value.text.clone()).unwrap_or_default();
    // A group that is wrong has its report.
    let gid = match (group.as_ref().map(|(_, gid)| *gid), s.one(&schema::GROUP), user.gid) {
        (Some(gid), _, _) | (None, None, Some(gid)) => gid,
        (None, Some(_), _) => return None,
        (None, None, None) => {
            let what = format!("the user {} is in no passwd, so its group is not known", user.uid);
            b.collector.report(Report::new(entry.at, what).help("write `group = ` as well".to_owned()));
            return None;
        }
    };
    let groups = accounts.groups(user.name.as_deref(), gid);
    Some(Identity { user: text, group: group.map(|(text, _)| text), uid: user.uid, gid, groups })
}

impl Accounts {
    fn user(self, text: &str) -> Result<Account, Fault> {
        let number = digits::<u32>(text).filter(|number| *number != UNCHANGED);
        let found = match (self, number) {
            (Self::System, Some(uid)) => User::from_uid(uid.into()),
            (Self::System, None) => User::from_name(text),
            (Self::Nothing, _) => Ok(None),
        };
        let found = found.map_err(|errno| unknown("user", text).help(format!("passwd cannot be asked: {errno}")))?;
        let account = match (found, number) {
            (Some(user), _) => Account { name: Some(user.name), uid: user.uid.as_raw(), gid: Some(user.gid.as_raw()) },
            (None, Some(uid)) => Account { name: None, uid, gid: None },
            (None, None) if self == Self::Nothing && text == "nobody" => {
                Account { name: None, uid: NOBODY, gid: Some(NOBODY) }
            }
            (None, None) => {
                let help = format!("`useradd --system --user-group {}` makes one", schema::USER.example);
                return Err(unknown("user", text).help(help));
            }
        };
        if account.uid == 0 {
            return Err(Fault::whole(text, format!("{} is root, whose rights are to be given up", quoted(text)))
                .help("without `user` the router stays who started it".to_owned()));
        }
        Ok(account)
    }

    fn group(self, text: &str) -> Result<u32, Fault> {
        if let Some(gid) = digits::<u32>(text).filter(|number| *number != UNCHANGED) {
            return Ok(gid);
        }
        let found = match self {
            Self::System => Group::from_name(text),
            Self::Nothing if text == "nogroup" => return Ok(NOBODY),
            Self::Nothing => Ok(None),
        };
        match found {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(unknown("group", text).help("`getent group` lists those there are".to_owned())),
            Err(errno) => Err(unknown("group", text).help(format!("the groups cannot be asked for: {errno}"))),
        }
    }

    /// The groups of a user as at its login, `gid` among them: sockets of backends are often a group's.
    fn groups(self, name: Option<&str>, gid: u32) -> Vec<u32> {
        let listed = match (self, name.and_then(|name| std::ffi::CString::new(name).ok())) {
            (Self::System, Some(name)) => getgrouplist(&name, Gid::from_raw(gid)).unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut groups: Vec<u32> = listed.into_iter().map(Gid::as_raw).chain([gid]).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

fn unknown(kind: &str, text: &str) -> Fault {
    Fault::whole(text, format!("there is no {kind} {}", quoted(text)))
}
