//! File capabilities: the bytes of the `security.capability` xattr.
//!
//! Source: capabilities(7); `struct vfs_cap_data` and `vfs_ns_cap_data` in the kernel's `include/uapi/linux/capability.h`.

/// What a file's capabilities ask the kernel for at execve(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCapabilities {
    /// Capabilities the process gets, where its bounding set has them.
    pub permitted: u64,
    /// Capabilities the process keeps of its inheritable set.
    pub inheritable: u64,
    /// Whether they are raised at once. Then the kernel refuses the exec when it cannot give all that is permitted.
    pub effective: bool,
    /// Who root is for them (revision 3); 0 before that.
    pub root: u32,
}

const EFFECTIVE: u32 = 1;

impl FileCapabilities {
    /// Reads the bytes of the xattr: revision 1 (12 bytes), 2 (20) or 3 (24).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| {
            let at = bytes.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(at.try_into().ok()?))
        };
        let magic = word(0)?;
        let wide = match (magic >> 24, bytes.len()) {
            (1, 12) => false,
            (2, 20) | (3, 24) => true,
            _ => return None,
        };
        let high = |index| if wide { word(index).map(|w| u64::from(w) << 32) } else { Some(0) };
        Some(FileCapabilities {
            permitted: u64::from(word(1)?) | high(3)?,
            inheritable: u64::from(word(2)?) | high(4)?,
            effective: magic & EFFECTIVE != 0,
            root: word(5).unwrap_or(0),
        })
    }

    /// Whether execve(2) answers EPERM to a process whose bounding set is empty.
    pub fn refuse_without_bounding_set(self) -> bool {
        self.effective && self.permitted != 0
    }

    /// As getcap(8) writes them: `cap_net_bind_service=ep`.
    pub fn text(self) -> String {
        let mut flags = String::new();
        let marks = [(self.effective, 'e'), (self.inheritable != 0, 'i'), (self.permitted != 0, 'p')];
        flags.extend(marks.iter().filter(|(set, _)| *set).map(|(_, mark)| mark));
        format!("{}={flags}", names(self.permitted | self.inheritable).join(","))
    }
}

/// The names of the bits set, lowest first. A bit no one has named yet is its number.
fn names(bits: u64) -> Vec<String> {
    let known = caps::all();
    (0..64u8)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| match known.iter().find(|capability| capability.index() == bit) {
            Some(capability) => capability.to_string().to_ascii_lowercase(),
            None => bit.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `setcap cap_net_bind_service=+ep` stores.
    const BIND: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn what_setcap_stores_is_read_back() {
        let bind = FileCapabilities::parse(&BIND).unwrap();
        assert_eq!(bind.text(), "cap_net_bind_service=ep");
        assert!(bind.refuse_without_bounding_set());
        // The twin: without the effective bit the same file starts, only without the capability.
        let permitted = FileCapabilities::parse(&{
            let mut b = BIND;
            b[0] = 0;
            b
        })
        .unwrap();
        assert_eq!(permitted.text(), "cap_net_bind_service=p");
        assert!(!permitted.refuse_without_bounding_set());
    }

    #[test]
    fn revision_3_says_who_root_is() {
        let mut bytes = BIND.to_vec();
        bytes[3] = 3;
        bytes.extend(2001u32.to_le_bytes());
        assert_eq!(FileCapabilities::parse(&bytes).unwrap().root, 2001);
    }

    #[test]
    fn high_capabilities_have_names_too() {
        let mut bytes = BIND;
        bytes[5] = 0;
        bytes[12] = 0x81;
        assert_eq!(names(FileCapabilities::parse(&bytes).unwrap().permitted), ["cap_mac_override", "cap_bpf"]);
    }

    #[test]
    fn other_bytes_are_no_capabilities() {
        for bytes in [&[][..], &BIND[..19], &[1, 0, 0, 9, 0, 4, 0, 0, 0, 0, 0, 0], b"\x01\0\0\x01"] {
            assert_eq!(FileCapabilities::parse(bytes), None);
        }
    }
}
