//! A container's variables, and what `$(NAME)` stands for.

use std::net::Ipv4Addr;

use super::quantity::Quantity;
use super::workload::{Objects, Workload};
use crate::manifest::fields::Fields;
use crate::manifest::node::Node;
use crate::manifest::{ManifestError, Settings};

/// What is given for a secret or a setting that is not in the file.
const STAND_IN: &str = "stand-in";

/// Where the variables are read from.
pub(super) struct Source<'a> {
    pub(super) workload: Workload<'a>,
    pub(super) objects: &'a Objects<'a>,
    /// The pod's own address.
    pub(super) address: Ipv4Addr,
    pub(super) pod_name: &'a str,
    pub(super) service_account: &'a str,
    pub(super) resources: Option<&'a Node>,
}

/// Reads `envFrom` and `env` into the settings.
pub(super) fn read(fields: &mut Fields<'_>, source: &Source<'_>, settings: &mut Settings) -> Result<(), ManifestError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (path, node) in fields.list("envFrom")? {
        let mut from = Fields::of(node, &*path)?;
        let prefix = from.text("prefix")?.unwrap_or_default();
        for (key, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
            let Some(mut reference) = from.map(key)? else { continue };
            let name = reference.required("name", node)?;
            let is_optional = reference.bool("optional")? == Some(true);
            reference.finish(&mut settings.findings);
            match source.objects.data.get(&(kind, name.as_str())) {
                Some(data) => {
                    for (key, bytes) in data {
                        set(&mut pairs, format!("{prefix}{key}"), String::from_utf8_lossy(bytes).into_owned());
                    }
                }
                None if is_optional => {}
                None => settings.stand_in(
                    &path,
                    true,
                    format!("the variables of the {kind} `{name}` are not in the file, and none of them is set"),
                ),
            }
        }
        from.finish(&mut settings.findings);
    }
    for (path, node) in fields.list("env")? {
        let mut variable = Fields::of(node, &*path)?;
        let name = variable.required("name", node)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(node.wrong(&format!("{path}.name"), format_args!("`{name}` is no name of a variable")));
        }
        let value = variable.text("value")?;
        let from = variable.map("valueFrom")?;
        variable.finish(&mut settings.findings);
        match (value, from) {
            (Some(_), Some(_)) => return Err(node.wrong(&path, "value and valueFrom cannot both be there")),
            (Some(value), None) => {
                let value = expand(&value, &pairs);
                set(&mut pairs, name, value);
            }
            (None, None) => set(&mut pairs, name, String::new()),
            (None, Some(from)) => {
                if let Some(value) = value_from(from, &name, node, source, settings)? {
                    set(&mut pairs, name, value);
                }
            }
        }
    }
    settings.env = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(())
}

fn set(pairs: &mut Vec<(String, String)>, name: String, value: String) {
    match pairs.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => pairs.push((name, value)),
    }
}

fn value_from(
    mut from: Fields<'_>,
    name: &str,
    node: &Node,
    source: &Source<'_>,
    settings: &mut Settings,
) -> Result<Option<String>, ManifestError> {
    for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
        let Some(mut reference) = from.map(field)? else { continue };
        let (object, key) = (reference.required("name", node)?, reference.required("key", node)?);
        let is_optional = reference.bool("optional")? == Some(true);
        reference.finish(&mut settings.findings);
        let data = source.objects.data.get(&(kind, object.as_str())).and_then(|data| data.get(key.as_str()));
        return Ok(match data {
            Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            None if is_optional => None,
            None => {
                let message =
                    format!("{name} is `{STAND_IN}`: the key `{key}` of the {kind} `{object}` is not in the file");
                settings.stand_in(name, true, message);
                Some(STAND_IN.to_owned())
            }
        });
    }
    if let Some(mut reference) = from.map("fieldRef")? {
        let path = reference.required("fieldPath", node)?;
        reference.skip(&["apiVersion"]);
        reference.finish(&mut settings.findings);
        return Ok(Some(field_value(&path, name, node, source, settings)?));
    }
    if let Some(mut reference) = from.map("resourceFieldRef")? {
        let resource = reference.required("resource", node)?;
        let divisor = reference.word("divisor")?.unwrap_or_default();
        reference.skip(&["containerName"]);
        return resource_value(&resource, &divisor, name, node, source, settings).map(Some);
    }
    let _ = from.get("fileKeyRef");
    from.finish(&mut settings.findings);
    settings.stand_in(name, true, format!("{name} is `{STAND_IN}`: austere does not know where its value comes from"));
    Ok(Some(STAND_IN.to_owned()))
}

/// What the downward API says of a pod that has not been made.
pub(super) fn field_value(
    path: &str,
    name: &str,
    node: &Node,
    source: &Source<'_>,
    settings: &mut Settings,
) -> Result<String, ManifestError> {
    let guess = |settings: &mut Settings, value: &str| {
        settings.stand_in(name, false, format!("{name} is `{value}`: only a cluster knows {path}"));
        value.to_owned()
    };
    let entry = |list: &str, rest: &str| {
        let key = rest.strip_prefix("['").and_then(|rest| rest.strip_suffix("']"))?;
        let value = source.workload.metadata.and_then(|metadata| metadata.at(&[list, key]));
        Some(value.and_then(|value| value.text("").ok()).unwrap_or_default().to_owned())
    };
    Ok(match path {
        "metadata.name" => source.pod_name.to_owned(),
        "metadata.namespace" => source.workload.namespace.to_owned(),
        "metadata.uid" => guess(settings, "00000000-0000-4000-8000-000000000000"),
        "spec.serviceAccountName" => source.service_account.to_owned(),
        "spec.nodeName" => guess(settings, "node"),
        "status.podIP" | "status.podIPs" => source.address.to_string(),
        "status.hostIP" | "status.hostIPs" => guess(settings, "192.0.2.1"),
        _ => {
            let labels = path.strip_prefix("metadata.labels").and_then(|rest| entry("labels", rest));
            let annotations = || path.strip_prefix("metadata.annotations").and_then(|rest| entry("annotations", rest));
            labels
                .or_else(annotations)
                .ok_or_else(|| node.wrong("fieldPath", format_args!("`{path}` is no field of the downward API")))?
        }
    })
}

fn resource_value(
    resource: &str,
    divisor: &str,
    name: &str,
    node: &Node,
    source: &Source<'_>,
    settings: &mut Settings,
) -> Result<String, ManifestError> {
    let (of, what) = resource.split_once('.').unwrap_or(("limits", resource));
    let quantity = |text: &str| text.parse::<Quantity>().map_err(|error| node.wrong("resourceFieldRef", error));
    let divisor = match divisor {
        "" | "0" => quantity("1")?,
        text => quantity(text)?,
    };
    if let Some(given) = source.resources.and_then(|resources| resources.at(&[of, what])) {
        return Ok(quantity(&given.word("resources")?)?.divided(divisor).to_string());
    }
    let message = format!("{name} is `1`: only a node knows what {resource} is where it is not set");
    settings.stand_in(name, false, message);
    Ok("1".to_owned())
}

/// Puts variables in the place of `$(NAME)`; `$$` is a dollar, and what is not known stays as it is.
///
/// Source: `k8s.io/kubernetes/third_party/forked/golang/expansion`.
pub(super) fn expand(text: &str, pairs: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|after| after.split_once(')')) {
            match pairs.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_as_kubernetes_does() {
        let pairs = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())];
        for (text, expanded) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$", "$$"),
            ("$(B)", "$(A)"),
            ("$(NOT_THERE)", "$(NOT_THERE)"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("$", "$"),
            ("", ""),
            ("$()", "$()"),
        ] {
            assert_eq!(expand(text, &pairs), expanded, "{text}");
        }
    }
}
