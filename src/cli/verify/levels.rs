//! The levels of one image: what is on its disk, what its app could start, what was tried.

use std::collections::BTreeSet;

use super::attempt::{self, Sight};
use crate::cli::launch;
use crate::cli::session::Session;
use crate::inventory::programs::{Kind, Program};
use crate::inventory::{Contents, Entrypoint, Survey, Tree as _, owned};
use crate::measure::Measure;
use crate::smoke::plan::Plan;
use crate::smoke::{Answer, Outcome};
use crate::verdict::levels::Name;
use crate::verdict::run::{Files, Level, Levels};
use crate::verdict::{Reached, Verdict};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Levels")]
pub(in crate::cli) struct LevelArgs {
    /// Levels that must be reached: L0 no shell or interpreter, L1 nothing to start but the app, L2 works sealed, L3 nothing
    /// writable is executable, L4 no exec without a file, L5 no language runtime
    #[arg(long, value_name = "L0,L2,…", value_delimiter = ',')]
    require: Vec<Name>,
    /// The same as --require L0
    #[arg(long)]
    no_shell: bool,
    /// Look for shells, and run the image sealed too
    #[arg(long)]
    ladder: bool,
}

/// What lies on the image's disk.
pub(super) struct Disk {
    programs: Vec<Program>,
    startable: Vec<String>,
    entrypoint: Entrypoint,
    files: Files,
}

impl LevelArgs {
    /// Requires these levels too.
    pub(super) fn also<'a>(&mut self, names: impl Iterator<Item = &'a Name>) {
        self.require.extend(names);
    }

    pub(super) fn required(&self) -> Vec<Name> {
        let mut names: BTreeSet<Name> = self.require.iter().copied().collect();
        names.extend(self.no_shell.then_some(Name::L0));
        names.into_iter().collect()
    }

    /// Looks through the image, where that is asked for: every program is read.
    pub(super) fn look(&self, session: &Session, argv: &[String]) -> anyhow::Result<Option<Disk>> {
        if !self.ladder && self.required().is_empty() {
            return Ok(None);
        }
        let view = session.view()?;
        let entrypoint = session.entrypoint(&view, argv);
        let listing = view.list();
        let contents = Contents::new(&listing.items, &view);
        let survey = Survey::of(&contents);
        let files = Files {
            set_ids: survey.set_id_modes(),
            capabilities: survey.capabilities.clone(),
            world_writable: survey.world_writable.iter().map(|writable| writable.path.clone()).collect(),
            owned: session.owner().map(|uid| owned(&contents, uid)),
        };
        let credentials = session.credentials();
        let may_start = |path: &String| view.find(path).is_ok_and(|found| credentials.may_start(&found));
        let startable = survey.executables.into_iter().filter(may_start).collect();
        Ok(Some(Disk { programs: survey.programs, startable, entrypoint, files }))
    }

    /// The run that `runs sealed` and L2 are about, where it is asked for and the judging run was not sealed.
    fn sealed(
        &self,
        session: &Session,
        wishes: &launch::Wishes,
        plan: &Plan,
    ) -> anyhow::Result<Option<(Outcome, Vec<Measure>)>> {
        let profile = &wishes.profile;
        let asked = self.ladder || self.required().contains(&Name::L2);
        if !asked || profile.seal || profile.init || session.barred.is_some() {
            return Ok(None);
        }
        let mut wishes = wishes.clone();
        wishes.profile.seal = true;
        attempt::hardened(session, &wishes, plan).map(Some)
    }

    /// Fills the verdict's levels, and judges by those that are required.
    pub(super) fn judge(
        &self,
        verdict: Verdict,
        session: &Session,
        run: &Run<'_>,
        disk: Option<&Disk>,
    ) -> anyhow::Result<Verdict> {
        let worked = run.outcome.answer == Answer::Works;
        let other = if worked { self.sealed(session, run.wishes, run.plan)? } else { None };
        let l2 = match &other {
            Some((outcome, measures)) => works_sealed(outcome, measures),
            None if run.wishes.profile.seal => run.l2(),
            None => Level::default(),
        };
        let levels = Levels {
            l0: disk.map_or_else(Level::default, |disk| disk.l0(run.sight)),
            l1: disk.map_or_else(Level::default, Disk::l1),
            l2,
            l3: run.l3(),
            l4: run.l4(disk),
            l5: disk.map_or_else(Level::default, Disk::l5),
            files: disk.map(|disk| disk.files.clone()),
        };
        Ok(verdict.with_levels(levels, &self.required()))
    }
}

impl Disk {
    /// What one could start from outside.
    pub(super) fn interactive(&self) -> Vec<String> {
        let all = self.programs.iter().filter(|program| program.kind != Kind::PackageManager);
        all.map(|program| program.path.clone()).take(40).collect()
    }

    fn l0(&self, sight: &Sight) -> Level {
        let what = |kind| match kind {
            Kind::Shell => "is a shell",
            Kind::Multicall => "has a shell in it",
            Kind::Interpreter => "is an interpreter",
            Kind::PackageManager => "installs packages",
        };
        let is_one = |program: &&Program| program.kind != Kind::PackageManager;
        let mut against: Vec<String> = self
            .programs
            .iter()
            .filter(is_one)
            .map(|program| format!("{} {} ({})", program.path, what(program.kind), program.name))
            .collect();
        against
            .extend(sight.entered.got_in().map(|path| format!("{path} was started from outside, as docker exec does")));
        let outside = match &sight.entered.barred {
            Some(why) => format!("entering from outside could not be tried: {why}"),
            None => format!("{} names were tried from outside, and none starts", sight.entered.tried.len()),
        };
        Level::unless(against, &format!("no shell and no interpreter among the image's programs; {outside}"))
    }

    /// The program itself and what starts it.
    fn own(&self) -> impl Iterator<Item = &String> {
        self.entrypoint.path.iter().chain(&self.entrypoint.interpreters)
    }

    fn l1(&self) -> Level {
        let more: Vec<String> =
            self.startable.iter().filter(|path| !self.own().any(|own| own == *path)).cloned().collect();
        let count = more.len();
        let mut against: Vec<String> =
            (count > 0).then(|| format!("{count} programs besides its own can be started")).into_iter().collect();
        against.extend(more.into_iter().take(20));
        Level::unless(against, "nothing but the app, and what starts it, can be started")
    }

    fn l5(&self) -> Level {
        let runtimes = ["libpython", "libjvm", "libperl", "libruby", "libnode", "libphp", "liblua", "libcoreclr"];
        let is_runtime = |name: &str| runtimes.iter().any(|runtime| name.starts_with(runtime));
        let programs = self.programs.iter().filter(|program| program.kind == Kind::Interpreter);
        let programs = programs.filter(|program| self.own().any(|own| *own == program.path));
        let mut against: Vec<String> =
            programs.map(|program| format!("{} is an interpreter ({})", program.path, program.name)).collect();
        let libraries = self.entrypoint.libraries.iter().filter(|library| is_runtime(&library.name));
        against.extend(libraries.map(|library| format!("{} is a language runtime", library.name)));
        Level::unless(against, "no language runtime in what the app loads at its start")
    }
}

/// The judging run, as far as the levels are about it.
pub(super) struct Run<'a> {
    pub wishes: &'a launch::Wishes,
    pub plan: &'a Plan,
    pub outcome: &'a Outcome,
    pub measures: &'a [Measure],
    pub sight: &'a Sight,
}

fn holds(measures: &[Measure], name: &str) -> bool {
    measures.iter().any(|measure| measure.name == name && measure.holds())
}

fn works_sealed(outcome: &Outcome, measures: &[Measure]) -> Level {
    let refused = outcome.findings.iter().filter(|finding| finding.code == "second-exec-refused");
    let mut evidence: Vec<String> = refused.map(|finding| finding.message.clone()).collect();
    let status = match outcome.answer {
        Answer::Works if holds(measures, "seal") => Reached::Reached,
        Answer::Fails => Reached::Failed,
        Answer::Works | Answer::Unknown => Reached::NotTried,
    };
    evidence.insert(0, format!("sealed: {}", outcome.summary));
    Level { status, evidence }
}

impl Run<'_> {
    fn l2(&self) -> Level {
        if self.wishes.profile.allow_exec.is_empty() {
            return works_sealed(self.outcome, self.measures);
        }
        Level { status: Reached::Failed, evidence: self.open() }
    }

    /// What a list of programs leaves open.
    fn open(&self) -> Vec<String> {
        let mut open = vec![format!("{} may be started again and again", self.sight.execute.join(", "))];
        open.push("a loader among them runs any ELF file that can be read, executable or not".to_owned());
        if self.wishes.profile.exec_memfd {
            open.push("a file in memory can be executed: Landlock does not see it".to_owned());
        }
        open
    }

    fn l3(&self) -> Level {
        match &self.sight.writable_executable {
            Some(mounts) => {
                let against = mounts.iter().map(|path| format!("{path} is writable and not noexec")).collect();
                Level::unless(against, "every writable mount is noexec")
            }
            None => Level::default(),
        }
    }

    fn l4(&self, disk: Option<&Disk>) -> Level {
        let profile = &self.wishes.profile;
        if self.sight.writable_executable.is_none() {
            return Level::default();
        }
        if profile.seal && !profile.allow_exec.is_empty() {
            return Level { status: Reached::Failed, evidence: self.open() };
        }
        let mut against = Vec::new();
        if !holds(self.measures, "seal") {
            against.push("a file in memory can be executed".to_owned());
            let loader = disk.and_then(|disk| disk.entrypoint.interpreters.last());
            against.extend(loader.map(|loader| format!("{loader} runs any ELF file that can be read")));
        }
        let needs_it = self.outcome.findings.iter().any(|finding| finding.code == "exec-gain-needed");
        if !holds(self.measures, "no-exec-gain") && !needs_it {
            against.push("memory that can be written to can be executed".to_owned());
        }
        let more = if needs_it { "; memory may become executable, which the app needs" } else { "" };
        Level::unless(against, &format!("every exec is refused, of files in memory and by a loader too{more}"))
    }
}
