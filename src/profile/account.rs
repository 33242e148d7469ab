//! Who `--user` and `USER` mean, by the image's own /etc/passwd and /etc/group.
//!
//! The rules are runc's and docker's: a number needs no entry; the group is the entry's, else 0; supplementary groups are those that list the
//! user's name; a group that is given switches them off.
//!
//! Source: passwd(5), group(5).

use std::fmt;
use std::str::FromStr;

/// `USER[:GROUP]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    who: Name,
    group: Option<Name>,
    more: Vec<Name>,
    keeps_memberships: bool,
}

/// A user or group as written: an id, or a name that the image's own passwd or group resolves later.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Id(u32),
    Name(String),
}

/// A user as the app will be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home folder of the passwd entry; `/` without one.
    pub home: String,
}

/// Why there is no such user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Neither ids nor names.
    #[error("`{0}` is not USER[:GROUP], each a name or an id from 0 to {LAST_ID}")]
    Malformed(String),
    /// A name without an entry.
    #[error(
        "the image's /etc/passwd has no user `{0}`\n  hint: a user that is not in it is named by number, as in 65532"
    )]
    NoUser(String),
    /// A group name without an entry.
    #[error(
        "the image's /etc/group has no group `{0}`\n  hint: a group that is not in it is named by number, as in 65532"
    )]
    NoGroup(String),
}

/// The largest id that engines take.
const LAST_ID: u32 = i32::MAX.unsigned_abs();

impl User {
    /// Who an image without `USER` runs as.
    pub const ROOT: User = User { who: Name::Id(0), group: None, more: Vec::new(), keeps_memberships: false };

    /// The same user in further groups, which `group` cannot switch off: names or ids.
    ///
    /// # Errors
    ///
    /// [`AccountError::Malformed`].
    pub fn with_groups(mut self, groups: &[String]) -> Result<Self, AccountError> {
        for group in groups {
            self.more.push(name(group).ok_or_else(|| AccountError::Malformed(group.clone()))?);
        }
        Ok(self)
    }

    /// The same user with another primary group. As Kubernetes has it, the groups that list the user's name can be kept then.
    #[must_use]
    pub fn in_group(self, gid: u32, keeps_memberships: bool) -> Self {
        User { group: Some(Name::Id(gid)), keeps_memberships, ..self }
    }

    /// Whether it is a number, so that it is known without the image's files not to be root.
    pub fn is_number(&self) -> bool {
        matches!(self.who, Name::Id(_))
    }

    /// The highest id in it that is known without the image's files.
    pub fn highest_id(&self) -> u32 {
        let id = |name: &Name| if let Name::Id(id) = name { *id } else { 0 };
        self.group.iter().chain(&self.more).map(id).max().unwrap_or(0).max(id(&self.who))
    }

    /// Looks the user up in the image's own files.
    ///
    /// # Errors
    ///
    /// [`AccountError::NoUser`], [`AccountError::NoGroup`]: a name without an entry.
    pub fn resolve(&self, passwd: &[u8], group: &[u8]) -> Result<Account, AccountError> {
        let entry = entries(passwd, 6).find_map(|fields| {
            let is_meant = match &self.who {
                Name::Id(uid) => id(fields[2]) == Some(*uid),
                Name::Name(name) => fields[0] == name,
            };
            is_meant.then(|| Some((fields[0], id(fields[2])?, id(fields[3])?, fields[5]))).flatten()
        });
        let (uid, mut gid, name, home) = match (entry, &self.who) {
            (Some((name, uid, gid, home)), _) => (uid, gid, Some(name), home),
            (None, Name::Id(uid)) => (*uid, 0, None, ""),
            (None, Name::Name(name)) => return Err(AccountError::NoUser(name.clone())),
        };
        let mut groups = Vec::new();
        let group_id = |group_name: &Name| match group_name {
            Name::Id(given) => Ok(*given),
            Name::Name(given) => {
                let found = entries(group, 3).find(|fields| fields[0] == given).and_then(|fields| id(fields[2]));
                found.ok_or_else(|| AccountError::NoGroup(given.clone()))
            }
        };
        if let Some(given) = &self.group {
            gid = group_id(given)?;
        }
        if let Some(name) = name.filter(|_| self.group.is_none() || self.keeps_memberships) {
            let has_member = |fields: &Vec<&str>| fields[3].split(',').any(|member| member == name);
            groups = entries(group, 4).filter(has_member).filter_map(|fields| id(fields[2])).collect();
        }
        for more in &self.more {
            let more = group_id(more)?;
            if !groups.contains(&more) {
                groups.push(more);
            }
        }
        let home = if home.is_empty() { "/" } else { home };
        Ok(Account { uid, gid, groups, home: home.to_owned() })
    }
}

impl FromStr for User {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let error = || AccountError::Malformed(text.to_owned());
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = name(user).ok_or_else(error)?;
        let group = group.map(|group| name(group).ok_or_else(error)).transpose()?;
        Ok(User { who: user, group, more: Vec::new(), keeps_memberships: false })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.who)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Id(id) => id.fmt(f),
            Name::Name(name) => name.fmt(f),
        }
    }
}

/// An id in plain decimal, or a name as passwd(5) may hold. Whatever a C parser could take for a number in another way (`+0`, `0x0`,
/// `1000x`, `-1`) is neither: crun ran such words as the wrong user (CVE-2026-30892).
fn name(text: &str) -> Option<Name> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return id(text).map(Name::Id);
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let base = text.strip_suffix('$').unwrap_or(text);
    let starts_well = base.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    (starts_well && text.len() <= 256 && base.bytes().all(letter)).then(|| Name::Name(text.to_owned()))
}

/// A user or group id in plain decimal.
pub(super) fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten().filter(|id| *id <= LAST_ID)
}

/// Whether a passwd has an entry for the user.
pub fn has_entry(passwd: &[u8], uid: u32) -> bool {
    entries(passwd, 6).any(|fields| id(fields[2]) == Some(uid))
}

/// The lines of `bytes` that have at least `fields` fields.
fn entries(bytes: &[u8], fields: usize) -> impl Iterator<Item = Vec<&str>> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(move |parts| parts.len() >= fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65531:n:/home/nonroot:/sbin/nologin\nbroken\n";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:33:nonroot,other\ndata:x:34:other\n";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), AccountError> {
        let account = text.parse::<User>()?.resolve(PASSWD, GROUP)?;
        Ok((account.uid, account.gid, account.groups))
    }

    #[test]
    fn a_number_takes_its_group_from_the_entry_if_there_is_one() {
        assert_eq!(ids("65532"), Ok((65532, 65531, vec![33])));
        assert_eq!(ids("1234"), Ok((1234, 0, vec![])));
        let home = |user: User| user.resolve(PASSWD, GROUP).unwrap().home;
        assert_eq!((home("1234".parse().unwrap()), home(User::ROOT)), ("/".to_owned(), "/root".to_owned()));
    }

    #[test]
    fn a_group_that_is_given_switches_the_others_off() {
        assert_eq!(ids("nonroot:data"), Ok((65532, 34, vec![])));
        assert_eq!(ids("65532:7"), Ok((65532, 7, vec![])));
    }

    #[test]
    fn groups_that_are_added_stay_whatever_the_group() {
        let ids = |text: &str, more: &[&str]| {
            let more: Vec<_> = more.iter().map(ToString::to_string).collect();
            let account = text.parse::<User>()?.with_groups(&more)?.resolve(PASSWD, GROUP)?;
            Ok((account.gid, account.groups))
        };
        assert_eq!(ids("1234", &["data", "7", "34"]), Ok((0, vec![34, 7])));
        assert_eq!(ids("nonroot:7", &["web"]), Ok((7, vec![33])));
        assert_eq!(ids("0", &["none"]), Err(AccountError::NoGroup("none".to_owned())));
        assert_eq!(ids("0", &["+1"]), Err(AccountError::Malformed("+1".to_owned())));
    }

    #[test]
    fn kubernetes_keeps_memberships_beside_a_group() {
        let ids = |keeps| {
            let account = "nonroot".parse::<User>()?.in_group(7, keeps).resolve(PASSWD, GROUP)?;
            Ok::<_, AccountError>((account.gid, account.groups))
        };
        assert_eq!((ids(true), ids(false)), (Ok((7, vec![33])), Ok((7, vec![]))));
        assert!("0".parse::<User>().unwrap().is_number() && !"root".parse::<User>().unwrap().is_number());
    }

    #[test]
    fn a_name_without_an_entry_is_nobody() {
        assert_eq!(ids("nobody"), Err(AccountError::NoUser("nobody".to_owned())));
        assert_eq!(ids("root:nogroup"), Err(AccountError::NoGroup("nogroup".to_owned())));
    }

    fn user(text: &str) -> Option<(Name, Option<Name>)> {
        text.parse::<User>().ok().map(|user| (user.who, user.group))
    }

    fn named(text: &str) -> Name {
        Name::Name(text.to_owned())
    }

    #[test]
    fn users_are_names_or_ids() {
        assert_eq!(user("0"), Some((Name::Id(0), None)));
        assert_eq!(user("65532:65532"), Some((Name::Id(65532), Some(Name::Id(65532)))));
        assert_eq!(user("2147483647"), Some((Name::Id(2_147_483_647), None)));
        assert_eq!(user("nonroot:www-data"), Some((named("nonroot"), Some(named("www-data")))));
        assert_eq!(user("_apt"), Some((named("_apt"), None)));
        assert_eq!(user("machine$"), Some((named("machine$"), None)));
    }

    #[test]
    fn what_could_become_another_user_is_refused() {
        for text in [
            "",
            "-1",
            "1000x",
            "2147483648",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "+0",
            ":",
            "0x0",
            "0:",
            ":0",
            "0:0:0",
            "00",
            "007",
            " 0",
            "0 ",
            "0\n",
            "root\0",
            "$",
            "a$b",
            ".x",
            "-x",
            "r\u{f6}\u{f6}t",
            "\u{661}",
            "1e3",
            "root/..",
        ] {
            assert_eq!(user(text), None, "{text:?}");
        }
    }
}
