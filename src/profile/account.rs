//! Who `--user` and `USER` mean, by the image's own /etc/passwd and /etc/group.
//!
//! The rules are runc's and docker's: a number needs no entry; the group is the one of the entry, else 0; supplementary groups come from the
//! entries that list the user's name; a group that is given switches them off.
//!
//! Source: passwd(5), group(5); CVE-2026-30892 for what a lax number parser does.

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
    /// The passwd entry's name; a number without an entry has none.
    pub name: Option<String>,
}

/// Why there is no such user.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccountError {
    /// Neither a number from 0 to 2147483647 nor a name.
    #[error("`{0}` is neither a user id (0 to 2147483647) nor a name")]
    Malformed(String),
    /// A name without an entry.
    #[error("the image's /etc/passwd has no user `{0}`")]
    NoUser(String),
    /// A group name without an entry.
    #[error("the image's /etc/group has no group `{0}`")]
    NoGroup(String),
}

/// The highest id engines accept.
const HIGHEST: u32 = i32::MAX.unsigned_abs();

/// Reads `USER[:GROUP]`; nothing means root, as in an image without `USER`.
///
/// # Errors
///
/// [`AccountError`].
pub fn resolve(text: &str, passwd: &[u8], group: &[u8]) -> Result<Account, AccountError> {
    let malformed = || AccountError::Malformed(text.to_owned());
    let (user, group_name) = match text.split_once(':') {
        Some((_, "")) => return Err(malformed()),
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = match (user, text) {
        ("", "") => "0",
        ("", _) => return Err(malformed()),
        (user, _) => user,
    };
    let number = id(user);
    if number.is_none() && !is_name(user) {
        return Err(malformed());
    }
    let entry = entries(passwd, 7)
        .find(|fields| number.map_or(fields[0] == user, |uid| fields[2].parse() == Ok(uid)))
        .and_then(|fields| Some((fields[0].to_owned(), id(fields[2])?, id(fields[3])?, fields[5].to_owned())));
    let (uid, mut gid, name, home) = match (entry, number) {
        (Some((name, uid, gid, home)), _) => (uid, gid, Some(name), home),
        (None, Some(uid)) => (uid, 0, None, String::new()),
        (None, None) => return Err(AccountError::NoUser(user.to_owned())),
    };
    let mut groups = Vec::new();
    if let Some(wanted) = group_name {
        gid = match id(wanted) {
            Some(gid) => gid,
            None if is_name(wanted) => entries(group, 4)
                .find(|fields| fields[0] == wanted)
                .and_then(|fields| id(fields[2]))
                .ok_or_else(|| AccountError::NoGroup(wanted.to_owned()))?,
            None => return Err(malformed()),
        };
    } else if let Some(name) = &name {
        let member = |fields: &Vec<&str>| fields[3].split(',').any(|member| member == name);
        groups = entries(group, 4).filter(member).filter_map(|fields| id(fields[2])).collect();
    }
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(Account { uid, gid, groups, home, name })
}

/// Digits only: no sign, no hexadecimal, no blank.
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= HIGHEST)
}

/// A name starts with a letter or an underscore (`NAME_REGEX` of adduser.conf(5) is narrower); what starts otherwise was meant as a number.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The lines of `bytes` that have at least `fields` fields.
fn entries(bytes: &[u8], fields: usize) -> impl Iterator<Item = Vec<&str>> {
    bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(move |parts| parts.len() >= fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65531:n:/home/nonroot:/sbin/nologin\nbroken\n";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:33:nonroot,other\ndata:x:34:other\n";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>), AccountError> {
        resolve(text, PASSWD, GROUP).map(|account| (account.uid, account.gid, account.groups))
    }

    #[test]
    fn a_number_takes_its_group_from_the_entry_if_there_is_one() {
        assert_eq!(ids("65532"), Ok((65532, 65531, vec![33])));
        assert_eq!(ids("1234"), Ok((1234, 0, vec![])));
        assert_eq!(resolve("1234", PASSWD, GROUP).unwrap().home, "/");
    }

    #[test]
    fn a_group_that_is_given_switches_the_others_off() {
        assert_eq!(ids("nonroot:data"), Ok((65532, 34, vec![])));
        assert_eq!(ids("65532:7"), Ok((65532, 7, vec![])));
    }

    #[test]
    fn no_user_is_root() {
        assert_eq!(ids(""), Ok((0, 0, vec![])));
    }

    #[test]
    fn what_is_no_user_is_never_taken_for_root() {
        for text in ["-1", "1000x", "4294967296", "+0", ":", "0x0", "1000:", ":0", " 0", "0 ", "2147483648"] {
            assert_eq!(ids(text), Err(AccountError::Malformed(text.to_owned())), "{text}");
        }
        assert_eq!(ids("nobody"), Err(AccountError::NoUser("nobody".to_owned())));
        assert_eq!(ids("root:nogroup"), Err(AccountError::NoGroup("nogroup".to_owned())));
    }
}
