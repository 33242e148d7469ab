//! To come.

use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub(super) struct Args {
    dir: std::path::PathBuf,
    #[arg(long)]
    without: Vec<String>,
    args: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    use crate::jail::subject::Subject;
    let mode = crate::ids::enter()?;
    let preset = crate::profile::preset::Preset::docker()?;
    let account = crate::profile::account::resolve("65532", b"", b"")?;
    let layer = args.dir.canonicalize()?;
    let wishes = super::launch::Wishes { args: args.args.clone(), without: args.without.clone(), ..Default::default() };
    let t = std::time::Instant::now();
    let spec = super::launch::spec(&Default::default(), vec![layer], &account, mode, &preset, &wishes, super::launch::Hardness::Hardened, crate::jail::Stdio::Passed)?;
    eprintln!("spec {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let mut started = crate::jail::start(&spec)?;
    eprintln!("start {:?}", t.elapsed());
    let end = started.app.wait_end(Duration::from_secs(10))?;
    eprintln!("end {:?} {:?}", t.elapsed(), end);
    for m in &started.measures { eprintln!("{:?} {} | {:?} | {:?}", m.status, m.name, m.read_back, m.why); }
    Ok(super::exit::PASS)
}
