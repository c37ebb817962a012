//! Giving up root: `--user` and `FIRELANE_USER`.
//!
//! On Linux a user belongs to a thread. So the switch is the first thing that the router does, while there is
//! one thread: before the configuration is read, a socket is bound or a runtime built. What only root may
//! open is then closed to the router too, and a reload can open what the start could.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{
    CapabilitySet, Gid, Uid, capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::exit::Exit;

/// The variable that says what `--user` would.
pub(crate) const VARIABLE: &str = "FIRELANE_USER";

/// A user and its only group, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, group {}", self.uid, self.gid)
    }
}

/// Why the router is not the user that it should be.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What happened, and what to do.
    pub(crate) text: String,
    /// The exit code.
    pub(crate) exit: Exit,
}

/// Becomes the user that the option, else the variable, names; `None` where neither does.
pub(crate) fn switch(option: Option<&str>) -> Result<Option<User>, Refused> {
    let variable = std::env::var_os(VARIABLE).filter(|text| !text.is_empty());
    let variable = variable.as_deref().map(OsStr::to_string_lossy);
    let (text, origin) = match (option, &variable) {
        (Some(text), _) => (text, "--user"),
        (None, Some(text)) => (&**text, VARIABLE),
        (None, None) => return Ok(None),
    };
    let usage = |why: String| Refused {
        text: format!("{origin} `{text}`: {why}"),
        exit: Exit::Usage,
    };
    let user = resolve(text, &table("/etc/passwd"), &table("/etc/group")).map_err(usage)?;
    let system = |why: String| Refused {
        text: format!("{origin} `{text}`: cannot become {user}: {why}"),
        exit: Exit::Open,
    };
    become_user(user).map_err(system)?;
    Ok(Some(user))
}

/// A table of users or groups; an image without one knows numbers only.
fn table(path: &str) -> String {
    std::fs::read_to_string(Path::new(path)).unwrap_or_default()
}

/// `NAME|UID[:NAME|GID]`. A user of the table has the group of the table, a bare number the group of that
/// number.
fn resolve(text: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let known = entry(passwd, user, 2);
    let uid = match (&known, user.parse::<u32>()) {
        (Some(fields), _) => number(fields, 2)
            .ok_or_else(|| format!("the line of `{user}` in /etc/passwd has no user number"))?,
        (None, Ok(uid)) => uid,
        (None, Err(_)) => return Err(format!("/etc/passwd has no user `{user}`; give a number")),
    };
    let gid = match wanted_group {
        Some(name) => match (entry(group, name, 2), name.parse::<u32>()) {
            (Some(fields), _) => number(&fields, 2)
                .ok_or_else(|| format!("the line of `{name}` in /etc/group has no group number"))?,
            (None, Ok(gid)) => gid,
            (None, Err(_)) => return Err(format!("/etc/group has no group `{name}`; give a number")),
        },
        None => known.and_then(|fields| number(&fields, 3)).unwrap_or(uid),
    };
    // The system takes the highest number for "leave it as it is".
    if uid == u32::MAX || gid == u32::MAX {
        return Err(format!("{} is no number of a user or group", u32::MAX));
    }
    if uid == 0 {
        return Err("this is root: name another user, or leave it out to stay root".to_owned());
    }
    Ok(User { uid, gid })
}

/// The fields of the line whose name is `wanted`, else of the one whose number at `place` is.
fn entry<'t>(table: &'t str, wanted: &str, place: usize) -> Option<Vec<&'t str>> {
    let lines = || table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = lines().find(|fields| fields.first() == Some(&wanted) && !wanted.is_empty());
    named.or_else(|| {
        let wanted = wanted.parse().ok()?;
        lines().find(|fields| number(fields, place) == Some(wanted))
    })
}

fn number(fields: &[&str], place: usize) -> Option<u32> {
    fields.get(place)?.parse().ok()
}

/// Groups first, since afterwards there is no right to; then a look at what became of it.
fn become_user(user: User) -> Result<(), String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    if !geteuid().is_root() {
        if is_now(user) {
            return set_no_new_privs(true).map_err(failed("no_new_privs"));
        }
        return Err(format!(
            "the router was started as user {}, group {}, and only root can change that; start it as root, or as \
             that user and group",
            geteuid().as_raw(),
            getegid().as_raw()
        ));
    }
    match threads() {
        Some(1) => {}
        Some(count) => return Err(format!("there are {count} threads already; please report this")),
        None => return Err("/proc is not mounted, so the result could not be checked".to_owned()),
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&[]).map_err(failed("setgroups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid"))?;
    set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    let groups = getgroups().map_err(failed("getgroups"))?;
    let left = capabilities(None).map_err(failed("capget"))?;
    let none = CapabilitySet::empty();
    if !is_now(user) || !groups.is_empty() || left.effective != none || left.permitted != none {
        return Err(format!(
            "rights of root are left: user {}, groups {groups:?}, {left:?}; start the router without \
             securebits or kept capabilities",
            getuid().as_raw()
        ));
    }
    Ok(())
}

fn is_now(user: User) -> bool {
    [getuid(), geteuid()].map(Uid::as_raw) == [user.uid; 2]
        && [getgid(), getegid()].map(Gid::as_raw) == [user.gid; 2]
}

/// How many threads this process has.
fn threads() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let count = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nlog:x:71:72::/:\n99:x:5:6::/:\nbroken:x:y:1::/:\n# text\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:log\n";

    #[test]
    fn names_and_numbers_are_found() {
        for (text, uid, gid) in [
            ("log", 71, 72),
            ("71", 71, 72),
            ("71:4", 71, 4),
            ("log:adm", 71, 4),
            ("log:1000", 71, 1000),
            ("65532", 65532, 65532),
            ("65532:root", 65532, 0),
            // A name that looks like a number is a name.
            ("99", 5, 6),
        ] {
            assert_eq!(resolve(text, PASSWD, GROUP), Ok(User { uid, gid }), "{text}");
        }
        let bare = resolve("1000:1001", "", "");
        assert_eq!(bare, Ok(User { uid: 1000, gid: 1001 }));
    }

    #[test]
    fn what_is_no_user_is_refused() {
        for (text, why) in [
            ("nobody", "/etc/passwd has no user `nobody`; give a number"),
            ("", "/etc/passwd has no user ``; give a number"),
            ("log:staff", "/etc/group has no group `staff`; give a number"),
            ("log:", "/etc/group has no group ``; give a number"),
            ("-1", "/etc/passwd has no user `-1`; give a number"),
            ("4294967295", "4294967295 is no number of a user or group"),
            ("1:4294967295", "4294967295 is no number of a user or group"),
            ("broken", "the line of `broken` in /etc/passwd has no user number"),
            (
                "root",
                "this is root: name another user, or leave it out to stay root",
            ),
            (
                "0:5",
                "this is root: name another user, or leave it out to stay root",
            ),
        ] {
            assert_eq!(resolve(text, PASSWD, GROUP), Err(why.to_owned()), "{text}");
        }
    }
}
