//! SPDX 2.3.
#![allow(clippy::struct_field_names, reason = "they are the format's")]

use serde::Serialize;

use super::Subject;
use crate::inventory::packages::Package;

const NO_ASSERTION: &str = "NOASSERTION";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    document_namespace: String,
    creation_info: Creation,
    packages: Vec<Item<'a>>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct Creation {
    created: String,
    creators: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version_info: &'a str,
    download_location: &'static str,
    files_analyzed: bool,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    license_comments: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_info: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<Reference<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    related_spdx_element: String,
    relationship_type: &'static str,
}

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";

pub(super) fn document<'a>(subject: &Subject<'a>) -> Document<'a> {
    let image = Item {
        version_info: subject.digest.unwrap_or_default(),
        primary_package_purpose: "CONTAINER",
        ..item(IMAGE.to_owned(), subject.reference)
    };
    let system = (!subject.release.id.is_empty()).then(|| Item {
        version_info: &subject.release.version,
        primary_package_purpose: "OPERATING_SYSTEM",
        ..item("SPDXRef-OperatingSystem".to_owned(), &subject.release.id)
    });
    let packages = subject.packages.iter().enumerate().map(|(index, one)| package(index, one));
    let packages: Vec<_> = std::iter::once(image).chain(system).chain(packages).collect();
    let relation = |from: &str, kind, to: &str| Relationship {
        spdx_element_id: from.to_owned(),
        related_spdx_element: to.to_owned(),
        relationship_type: kind,
    };
    let contains = packages[1..].iter().map(|package| relation(IMAGE, "CONTAINS", &package.id));
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: subject.reference,
        document_namespace: format!("https://spdx.org/spdxdocs/austere-{}", subject.uuid()),
        creation_info: Creation {
            created: subject.time(),
            creators: [concat!("Tool: austere-", env!("CARGO_PKG_VERSION")).to_owned()],
        },
        relationships: std::iter::once(relation(DOCUMENT, "DESCRIBES", IMAGE)).chain(contains).collect(),
        packages,
    }
}

fn item(id: String, name: &str) -> Item<'_> {
    Item {
        id,
        name,
        version_info: "",
        download_location: NO_ASSERTION,
        files_analyzed: false,
        license_concluded: NO_ASSERTION,
        license_declared: NO_ASSERTION,
        copyright_text: NO_ASSERTION,
        license_comments: String::new(),
        source_info: String::new(),
        primary_package_purpose: "",
        external_refs: Vec::new(),
    }
}

/// What the package's own files say of its licence goes into a comment: it need not be an SPDX expression.
fn package(index: usize, package: &Package) -> Item<'_> {
    let purl =
        Reference { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: &package.purl };
    Item {
        version_info: &package.version,
        license_comments: package.licences.join(", "),
        source_info: format!("{}, from {} of layer {}", package.kind.name(), package.location, package.layer),
        external_refs: if package.purl.is_empty() { Vec::new() } else { vec![purl] },
        ..item(format!("SPDXRef-Package-{}", index + 1), &package.name)
    }
}
