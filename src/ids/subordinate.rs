//! Subordinate ids: ranges that the host's administrator gave a user for namespaces of its own.
//!
//! Source: subuid(5), subgid(5). Both files are about users: subgid too is looked up by the user's name or number.

/// The kernel takes at most 340 rows (`user_namespaces(7)`), and the caller's own id is one.
const ROWS_MAX: usize = 339;

/// So many ids from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first one.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// One row of a map: the first id inside, the first outside, and how many.
pub type Row = (u32, u32, u32);

/// The user's name in passwd(5): `NAME:PASSWORD:UID:…`.
///
/// Not getpwuid(3): a static glibc loads plug-ins for it, which crash.
pub fn name_of(passwd: &str, uid: u32) -> Option<String> {
    let number = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(number.as_str()))?;
    line.split(':').next().map(str::to_owned)
}

/// The user's ranges in the text of such a file, `NAME-OR-UID:FIRST:COUNT` a line: ordered, and no id in two of them.
pub fn ranges(file: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != number && name != Some(owner) {
            return None;
        }
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        // The last number of 32 bits is no id.
        Some(Range { first, count: count.min(u32::MAX - first) })
    };
    let mut found: Vec<Range> = file.lines().filter_map(range).collect();
    found.sort_unstable();
    let mut next = 0;
    found.retain_mut(|range| {
        let end = range.first + range.count;
        range.first = range.first.max(next);
        range.count = end.saturating_sub(range.first);
        next = next.max(end);
        range.count > 0
    });
    found
}

/// How many ids there are in all.
pub fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count)).sum()
}

/// A map in which 0 is the user's own id and the ranges follow it, when ids up to `highest` have a place in it.
pub fn rows(own: u32, ranges: &[Range], highest: u32) -> Option<Vec<Row>> {
    let (mut rows, mut next) = (vec![(0, own, 1)], 1_u32);
    for range in ranges {
        // A range with the own id in it would give that id two names, which the kernel refuses.
        let before = Range { first: range.first, count: range.count.min(own.saturating_sub(range.first)) };
        let whole = own < range.first || own - range.first >= range.count;
        let after = Range { first: own.saturating_add(1), count: 0 };
        let parts = if whole {
            [*range, after]
        } else {
            let count = range.count - (own - range.first) - 1;
            [before, Range { count, ..after }]
        };
        for part in parts {
            // The last number of 32 bits is no id inside either.
            let count = part.count.min(u32::MAX - next);
            if count > 0 && rows.len() <= ROWS_MAX {
                rows.push((next, part.first, count));
                next += count;
            }
        }
    }
    (next > highest).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    #[test]
    fn names_come_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(name_of(passwd, 1), None);
    }

    #[test]
    fn ranges_of_a_name_and_of_a_number_are_one_s_own() {
        let file = "ann:300000:65536\n1000:100000:10\nbob:1:1\n# x\nann:bad\nann:5\nann:7:-1\n";
        assert_eq!(ranges(file, Some("ann"), 1000), [range(100_000, 10), range(300_000, 65536)]);
        assert_eq!(ranges(file, None, 1000), [range(100_000, 10)]);
        assert!(ranges(file, None, 2001).is_empty());
    }

    #[test]
    fn no_id_is_in_two_ranges() {
        let file = "a:100:50\n7:100:50\na:120:100\na:130:5\na:4294967290:4294967295\n";
        let found = ranges(file, Some("a"), 7);
        assert_eq!(found, [range(100, 50), range(150, 70), range(4_294_967_290, 5)]);
        assert_eq!(total(&found), 125);
    }

    #[test]
    fn the_ranges_follow_the_own_id() {
        let two = [range(1000, 10), range(5000, 90)];
        assert_eq!(rows(7, &two, 100), Some(vec![(0, 7, 1), (1, 1000, 10), (11, 5000, 90)]));
        assert_eq!(rows(7, &two, 101), None);
        assert_eq!(rows(7, &[], 0), Some(vec![(0, 7, 1)]));
    }

    #[test]
    fn the_own_id_is_left_out_of_a_range() {
        assert_eq!(rows(5, &[range(0, 10)], 9), Some(vec![(0, 5, 1), (1, 0, 5), (6, 6, 4)]));
        assert_eq!(rows(0, &[range(0, 3)], 2), Some(vec![(0, 0, 1), (1, 1, 2)]));
        assert_eq!(rows(2, &[range(0, 3)], 2), Some(vec![(0, 2, 1), (1, 0, 2)]));
    }

    #[test]
    fn a_map_is_never_longer_than_the_kernel_takes() {
        let many: Vec<Range> = (0..1000).map(|i| range(i * 10 + 10, 5)).collect();
        assert_eq!(rows(1, &many, 100).unwrap().len(), 340);
        assert_eq!(rows(1, &[range(2, u32::MAX - 2)], 100).unwrap(), [(0, 1, 1), (1, 2, u32::MAX - 2)]);
    }
}
