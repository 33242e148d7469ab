//! Compose files: one of their services as docker would start it.
//!
//! Source: the Compose specification, <https://github.com/compose-spec/compose-spec>.

mod limits;
mod service;
mod storage;
mod variables;

use std::collections::BTreeMap;

use super::fields::Fields;
use super::node::{self, Dialect, Node};
use super::{Engine, ManifestError, Settings};

/// What one service of a file is to be.
///
/// `choice` names the service; `variables` are what `${NAME}` stands for.
///
/// # Errors
///
/// [`ManifestError`]: what is wrong and where, or which services there are to choose from.
pub fn read(text: &str, choice: Option<&str>, variables: &BTreeMap<String, String>) -> Result<Settings, ManifestError> {
    let mut documents = node::documents(text, Dialect::Yaml12)?;
    if let Some(second) = documents.get(1) {
        return Err(second.wrong("the file", "a compose file is one document"));
    }
    let Some(mut document) = documents.pop() else {
        return Err(ManifestError::Nothing("it is empty".to_owned()));
    };
    document.entries("the file")?;
    let mut missing = Vec::new();
    variables::fill(&mut document, "", variables, &mut missing)?;
    let mut file = Fields::of(&document, "")?;
    file.skip(&["version", "name", "networks", "volumes", "configs", "secrets", "models"]);
    let path = file.path("services");
    let services = match file.get("services") {
        Some(services) => services.entries(&path)?,
        None => return Err(document.wrong(&path, "it has to be there")),
    };
    let (name, node) = chosen(services, choice)?;
    let mut settings = Settings::new(format!("service {name}"), Engine::Compose);
    for name in missing {
        settings.warn("variable-not-set", format!("the variable {name} is not set, and empty in the file"), "");
    }
    if file.get("include").is_some() {
        settings.warn("not-followed", "include: other files were not read".to_owned(), "");
    }
    service::read(node, &format!("services.{name}"), &document, variables, &mut settings)?;
    finish(file, &mut settings);
    Ok(settings)
}

fn chosen<'a>(services: &'a [(String, Node)], choice: Option<&str>) -> Result<(&'a str, &'a Node), ManifestError> {
    let names = services.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match (services, choice) {
        ([], _) => return Err(ManifestError::Nothing("it has no services".to_owned())),
        ([only], None) => Some(only),
        (_, Some(choice)) => services.iter().find(|(name, _)| name == choice),
        (_, None) => {
            let why = format!("it has several services: {names}\n  hint: choose one with --service");
            return Err(ManifestError::Choice(why));
        }
    };
    let why = || format!("it has no service `{}`; there are {names}", choice.unwrap_or_default());
    found.map(|(name, node)| (name.as_str(), node)).ok_or_else(|| ManifestError::Choice(why()))
}

/// Says which keys nobody asked for; those that start with `x-` are nobody's.
fn finish(fields: Fields<'_>, settings: &mut Settings) {
    let known = settings.findings.len();
    fields.finish(&mut settings.findings);
    let more = settings.findings.split_off(known);
    settings.findings.extend(more.into_iter().filter(|finding| {
        let key = finding.message.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        !key.rsplit('.').next().unwrap_or_default().starts_with("x-")
    }));
}
