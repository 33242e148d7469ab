//! Variants of an image side by side: `austere.compare/1`.
//!
//! Each column comes from two reports of austere's own about one image, `austere.inspect/1` and `austere.verdict/1`.

mod table;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::inspect::size;
use super::json;

/// All variants.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The form and version of this report.
    pub schema: &'static str,
    /// In the order in which they were given.
    pub images: Vec<Variant>,
    /// What is compared, one row each.
    pub rows: Vec<Row>,
    /// What was asked for and does not hold.
    pub failed: Vec<String>,
}

/// What is known of one variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Variant {
    /// As it was written.
    pub reference: String,
    /// Its base.
    pub base: String,
    /// Bytes as stored.
    pub stored: u64,
    /// Bytes of all files of all layers.
    pub unpacked: u64,
    /// Bytes that later layers hide.
    pub wasted: u64,
    /// How many layers.
    pub layers: usize,
    /// How many packages.
    pub packages: usize,
    /// How many of each severity; `null` when it was not scanned.
    pub vulnerabilities: Option<BTreeMap<String, u64>>,
    /// Paths of shells, multi-call programs among them.
    pub shells: Vec<String>,
    /// Paths of interpreters.
    pub interpreters: Vec<String>,
    /// Paths of package managers.
    pub package_managers: Vec<String>,
    /// How many files can be executed.
    pub executables: usize,
    /// Paths of set-id files.
    pub set_ids: Vec<String>,
    /// Paths of files with capabilities.
    pub capabilities: Vec<String>,
    /// `reached`, `failed` or `not_tried`, by `L0` to `L5`.
    pub levels: BTreeMap<String, String>,
    /// `pass`, `fail`, `inconclusive`; nothing when it was not run.
    pub verdict: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Milliseconds from its start until its last probe had its answer.
    pub ready_ms: Option<f64>,
}

/// One thing that is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// One text a variant.
    pub values: Vec<String>,
    /// Indices of the best, where there is a best and not all are.
    pub best: Vec<usize>,
}

impl Variant {
    /// Takes what counts out of the two reports.
    pub fn new(inspection: &Value, verdict: Option<&Value>) -> Variant {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let sum =
            |key: &str| inspection["layers"].as_array().into_iter().flatten().filter_map(|one| one[key].as_u64()).sum();
        let programs = |kinds: &[&str]| -> Vec<String> {
            let all = array(&inspection["programs"]);
            let own = all.iter().filter(|one| one["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)));
            own.map(|one| text(&one["path"])).collect()
        };
        let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
        let counts = inspection["vulnerabilities"]["counts"].as_object();
        let counted = |(name, count): (&String, &Value)| (name.clone(), count.as_u64().unwrap_or(0));
        let base = format!("{} {}", text(&inspection["base"]["name"]), text(&inspection["base"]["version"]));
        let number = |value: &Value| usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        let ready = |verdict: &Value| {
            let probes = array(&verdict["probes"]);
            let end = |probe: &Value| Some(probe["at_ms"].as_f64()? + probe["took_ms"].as_f64()?);
            let passed = verdict["verdict"] == "pass";
            probes.iter().filter(|probe| probe["kind"] != "up").filter_map(end).reduce(f64::max).filter(|_| passed)
        };
        let mut variant = Variant {
            reference: text(&inspection["reference"]),
            base: base.trim_end().to_owned(),
            stored: sum("size"),
            unpacked: sum("unpacked"),
            wasted: inspection["wasted"]["bytes"].as_u64().unwrap_or(0),
            layers: array(&inspection["layers"]).len(),
            packages: number(&inspection["package_count"]),
            vulnerabilities: counts.map(|counts| counts.iter().map(counted).collect()),
            shells: programs(&["shell", "multicall"]),
            interpreters: programs(&["interpreter"]),
            package_managers: programs(&["package-manager"]),
            executables: array(&inspection["executables"]).len(),
            set_ids: keys(&inspection["set_ids"]),
            capabilities: keys(&inspection["capabilities"]),
            levels: BTreeMap::new(),
            verdict: verdict.map(|verdict| text(&verdict["verdict"])),
            reason: verdict.map(|verdict| text(&verdict["reason"])),
            ready_ms: verdict.and_then(ready),
        };
        variant.levels = variant.levels_of(verdict);
        variant
    }

    /// What the verdict says; L0 follows from the files where it does not.
    fn levels_of(&self, verdict: Option<&Value>) -> BTreeMap<String, String> {
        let level = |name: &str| {
            let said = verdict.and_then(|verdict| verdict["levels"][name]["status"].as_str()).unwrap_or("not_tried");
            let status = match (name, said) {
                ("L0", "not_tried") if self.shells.is_empty() && self.interpreters.is_empty() => "reached",
                ("L0", "not_tried") => "failed",
                (_, said) => said,
            };
            (name.to_owned(), status.to_owned())
        };
        ["L0", "L1", "L2", "L3", "L4", "L5"].map(level).into()
    }

    /// Vulnerabilities of `severity` and worse.
    fn worst(&self) -> Option<Vec<f64>> {
        let counts = self.vulnerabilities.as_ref()?;
        let severities = ["critical", "high", "medium", "low", "negligible", "unknown"];
        #[allow(clippy::cast_precision_loss, reason = "nobody has 2^53 flaws")]
        let number = |name: &&str| counts.get(*name).map_or(0.0, |count| *count as f64);
        Some(severities.iter().map(number).collect())
    }
}

impl Comparison {
    /// Puts variants side by side.
    pub fn new(images: Vec<Variant>, failed: Vec<String>) -> Comparison {
        let rows = rows(&images);
        Comparison { schema: "austere.compare/1", images, rows, failed }
    }

    /// For programs.
    pub fn json(&self) -> String {
        json::page(self)
    }

    /// For people, at most so many columns wide.
    pub fn text(&self, width: usize) -> String {
        table::text(self, width)
    }

    /// For a pull request or a page.
    pub fn markdown(&self) -> String {
        table::markdown(self)
    }
}

/// A value to show, and one to compare: the least is the best; one without is not compared.
type Cell = (String, Option<Vec<f64>>);

fn rows(images: &[Variant]) -> Vec<Row> {
    #[allow(clippy::cast_precision_loss, reason = "which of two is less hardly depends on the 53rd bit")]
    fn count(number: usize) -> Cell {
        (number.to_string(), Some(vec![number as f64]))
    }
    #[allow(clippy::cast_precision_loss, reason = "as above")]
    fn bytes(number: u64) -> Cell {
        (size(number), Some(vec![number as f64]))
    }
    let paths = |paths: &[String]| count(paths.len());
    let row = |name: &'static str, cell: &dyn Fn(&Variant) -> Cell| Row::new(name, images.iter().map(cell).collect());
    let mut rows = vec![
        row("base", &|image| (image.base.clone(), None)),
        row("stored", &|image| bytes(image.stored)),
        row("unpacked", &|image| bytes(image.unpacked)),
        row("wasted", &|image| bytes(image.wasted)),
        row("layers", &|image| (image.layers.to_string(), None)),
        row("packages", &|image| count(image.packages)),
        row("known flaws", &|image| match &image.vulnerabilities {
            None => ("not scanned".to_owned(), None),
            Some(counts) => (flaws(counts), image.worst()),
        }),
        row("shells", &|image| paths(&image.shells)),
        row("interpreters", &|image| paths(&image.interpreters)),
        row("package managers", &|image| paths(&image.package_managers)),
        row("executables", &|image| count(image.executables)),
        row("set-id files", &|image| paths(&image.set_ids)),
        row("file capabilities", &|image| paths(&image.capabilities)),
    ];
    for (name, label) in [
        ("L0", "L0 no shell on disk"),
        ("L1", "L1 only the app starts"),
        ("L2", "L2 works sealed"),
        ("L3", "L3 no write and exec"),
        ("L4", "L4 no fileless exec"),
        ("L5", "L5 no runtime"),
    ] {
        let tried = images.iter().any(|image| image.levels.get(name).is_some_and(|status| status != "not_tried"));
        if tried {
            rows.push(row(label, &|image| match image.levels.get(name).map(String::as_str) {
                Some("reached") => ("yes".to_owned(), Some(vec![0.0])),
                Some("failed") => ("no".to_owned(), Some(vec![1.0])),
                _ => ("not tried".to_owned(), None),
            }));
        }
    }
    if images.iter().any(|image| image.verdict.is_some()) {
        rows.push(row("hardened", &|image| match image.verdict.as_deref() {
            Some("pass") => ("pass".to_owned(), Some(vec![0.0])),
            Some("fail") => ("fail".to_owned(), Some(vec![1.0])),
            Some(other) => (other.to_owned(), None),
            None => ("not run".to_owned(), None),
        }));
        rows.push(row("ready in", &|image| match image.ready_ms {
            Some(ms) => (format!("{ms:.1} ms"), Some(vec![ms])),
            None => ("–".to_owned(), None),
        }));
    }
    rows
}

/// `2 high, 1 low`.
fn flaws(counts: &BTreeMap<String, u64>) -> String {
    let order = crate::vulns::Severity::ALL;
    let parts: Vec<String> =
        order.iter().filter_map(|one| Some(format!("{} {}", counts.get(one.name())?, one.name()))).collect();
    if parts.is_empty() { "none found".to_owned() } else { parts.join(", ") }
}

impl Row {
    fn new(name: &'static str, cells: Vec<Cell>) -> Row {
        let least = cells
            .iter()
            .filter_map(|(_, value)| value.as_ref())
            .min_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let is_best = |(_, value): &Cell| value.is_some() && value.as_ref() == least;
        let mut best: Vec<usize> = (0..cells.len()).filter(|index| is_best(&cells[*index])).collect();
        if best.len() == cells.len() {
            best.clear();
        }
        Row { name, values: cells.into_iter().map(|(text, _)| text).collect(), best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(name: &str, stored: u64, shells: usize) -> Variant {
        Variant {
            reference: format!("a/{name}.tar"),
            stored,
            shells: vec!["/bin/sh".into(); shells],
            ..Variant::default()
        }
    }

    #[test]
    fn the_best_of_a_row_is_marked_unless_all_are() {
        let rows = rows(&[variant("a", 10, 2), variant("b", 5, 2), variant("c", 5, 2)]);
        let best = |name: &str| rows.iter().find(|row| row.name == name).unwrap().best.clone();
        assert_eq!(best("stored"), [1, 2]);
        assert_eq!(best("shells"), Vec::<usize>::new());
        assert_eq!(best("known flaws"), Vec::<usize>::new(), "not scanned is not the best");
    }

    #[test]
    fn not_scanned_is_not_none_found() {
        let mut scanned = variant("a", 1, 0);
        scanned.vulnerabilities = Some(BTreeMap::new());
        let comparison = Comparison::new(vec![scanned, variant("b", 1, 0)], vec![]);
        let row = comparison.rows.iter().find(|row| row.name == "known flaws").unwrap();
        assert_eq!(row.values, ["none found", "not scanned"]);
    }

    #[test]
    fn it_stays_readable_at_any_width() {
        let images = ["alpine", "distroless", "scratch"].map(|name| variant(name, 1 << 20, 0)).to_vec();
        let comparison = Comparison::new(images, vec![]);
        for width in [1, 20, 40, 60, 80, 200] {
            let text = comparison.text(width);
            for name in ["alpine", "distroless", "scratch", "stored", "1.0 MiB"] {
                assert!(text.contains(name), "{width} {name}\n{text}");
            }
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width.max(60), "{width} {longest}\n{text}");
        }
        assert!(comparison.markdown().contains("| stored | 1.0 MiB | 1.0 MiB | 1.0 MiB |"));
    }
}
