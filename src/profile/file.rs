//! A file that is put into the jail with content of its own: what a manifest says of a configuration.

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where; absolute, and without `..`.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Permission bits; root is its owner.
    pub mode: u32,
    /// Its group; root's when absent.
    pub gid: Option<u32>,
}

impl File {
    /// The permission bits that a file of the app's own needs for the app to have the rights that it has to a file of root's.
    pub fn projected(&self, uid: u32, groups: &[u32]) -> u32 {
        let bits = match self.gid.unwrap_or(0) {
            _ if uid == 0 => self.mode >> 6,
            gid if groups.contains(&gid) => self.mode >> 3,
            _ => self.mode,
        };
        (bits & 0o7) << 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_s_rights_become_the_owner_s() {
        let file = |gid| File { path: "/x".to_owned(), content: Vec::new(), mode: 0o640, gid };
        assert_eq!(file(None).projected(0, &[]), 0o600);
        assert_eq!(file(None).projected(65532, &[0]), 0o400);
        assert_eq!(file(Some(7)).projected(65532, &[7]), 0o400);
        assert_eq!(file(Some(7)).projected(65532, &[0]), 0o000);
    }
}
