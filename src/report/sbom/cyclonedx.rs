//! `CycloneDX` 1.5.

use serde::Serialize;

use super::Subject;
use crate::inventory::packages::{Kind, Package};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    timestamp: String,
    tools: Tools<'a>,
    component: Component<'a>,
}

#[derive(Serialize)]
struct Tools<'a> {
    components: [Component<'a>; 1],
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    bom_ref: String,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    purl: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property<'a>>,
}

/// A licence by name: whether a text is an SPDX identifier is not known here.
#[derive(Serialize)]
struct Choice<'a> {
    license: Name<'a>,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Property<'a> {
    name: &'static str,
    value: std::borrow::Cow<'a, str>,
}

pub(super) fn document<'a>(subject: &Subject<'a>) -> Document<'a> {
    let austere = Component {
        kind: "application",
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        ..Component::default()
    };
    let image = Component {
        kind: "container",
        bom_ref: "image".to_owned(),
        name: subject.reference,
        version: subject.digest.unwrap_or_default(),
        ..Component::default()
    };
    // Scanners look for the distribution here before they look into its packages.
    let system = (!subject.release.id.is_empty()).then(|| Component {
        kind: "operating-system",
        bom_ref: "os".to_owned(),
        name: &subject.release.id,
        version: &subject.release.version,
        ..Component::default()
    });
    let packages = subject.packages.iter().enumerate().map(|(index, package)| component(index, package));
    Document {
        schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.5",
        serial_number: format!("urn:uuid:{}", subject.uuid()),
        version: 1,
        metadata: Metadata { timestamp: subject.time(), tools: Tools { components: [austere] }, component: image },
        components: system.into_iter().chain(packages).collect(),
    }
}

fn component(index: usize, package: &Package) -> Component<'_> {
    Component {
        kind: if package.kind == Kind::Binary { "application" } else { "library" },
        bom_ref: format!("package-{}", index + 1),
        name: &package.name,
        version: &package.version,
        licenses: package.licences.iter().map(|name| Choice { license: Name { name } }).collect(),
        purl: &package.purl,
        properties: vec![
            Property { name: "austere:type", value: package.kind.name().into() },
            Property { name: "austere:location", value: (&package.location).into() },
            Property { name: "austere:layer", value: package.layer.to_string().into() },
        ],
    }
}
