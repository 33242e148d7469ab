//! The flags about what may be executed.

use crate::profile::Profile;

#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct SealArgs {
    /// Refuse every exec after the app's own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub seal: Option<bool>,
    /// Let this program be started all the same: in place of the call, files are held back then [repeatable]
    #[arg(long, value_name = "PATH")]
    pub allow_exec: Vec<String>,
    /// Declare a TCP port that the app may listen on, besides those the image exposes and the probes ask [repeatable]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub expose: Vec<u16>,
}

impl SealArgs {
    pub(super) fn apply(&self, profile: &mut Profile) -> anyhow::Result<()> {
        if self.seal == Some(false) && profile.seal {
            profile.relaxations.push("--seal=false".to_owned());
        }
        profile.seal = self.seal.unwrap_or(profile.seal);
        profile.ports.extend(&self.expose);
        profile.relaxations.extend(self.expose.iter().map(|port| format!("--expose {port}")));
        for path in &self.allow_exec {
            anyhow::ensure!(path.starts_with('/'), "--allow-exec {path}: it is not an absolute path");
            anyhow::ensure!(profile.seal, "--allow-exec {path}: without --seal every program may be started");
            profile.relaxations.push(format!("--allow-exec {path}"));
            profile.allow_exec.push(path.clone());
        }
        anyhow::ensure!(
            !(profile.seal && profile.init),
            "--init starts the app with a second exec, which the seal refuses: leave one of them out"
        );
        Ok(())
    }
}
