//! The runs of a search: the same unpacked image, a jail for each set.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::cli::launch::{self, Wishes};
use crate::cli::session::Session;
use crate::cli::verify::{attempt, watched};
use crate::finding::{Finding, Role};
use crate::fit::{Runner, Set, Trial};
use crate::jail::{Spec, Stdio};
use crate::profile::Seccomp;
use crate::profile::account::User;
use crate::profile::seccomp::Policy;
use crate::smoke::plan::Plan;
use crate::smoke::{Answer, Outcome};
use crate::trace::Timeline;
use crate::trace::timeline::{Event, Kind};
use crate::verdict::{Baseline, diagnose};

/// Runs one image with whatever set is given back.
pub(super) struct Jails<'a> {
    session: &'a Session,
    wishes: &'a Wishes,
    /// What the app must do.
    pub(super) plan: &'a Plan,
    user: User,
    baseline: Baseline,
    /// A seccomp profile in place of the set's, with its name.
    pub(super) filter: Option<(String, String)>,
    /// The image as other users find it, by user and groups.
    others: BTreeMap<String, Rc<Session>>,
    /// The last run, for explaining it.
    last: Option<Outcome>,
}

impl<'a> Jails<'a> {
    pub(super) fn new(
        session: &'a Session,
        wishes: &'a Wishes,
        plan: &'a Plan,
        user: User,
        baseline: Baseline,
    ) -> Self {
        Jails { session, wishes, plan, user, baseline, filter: None, others: BTreeMap::new(), last: None }
    }

    /// The same app with another plan.
    pub(super) fn with_plan<'b>(&self, plan: &'b Plan) -> Jails<'b>
    where
        'a: 'b,
    {
        let others = self.others.clone();
        Jails { others, ..Jails::new(self.session, self.wishes, plan, self.user.clone(), self.baseline) }
    }

    /// The jail for a run whose calls are written down, and what they are judged by.
    pub(super) fn recorded(&mut self, set: &Set) -> anyhow::Result<(Spec, Policy)> {
        let other = self.other(set)?;
        let session = other.as_deref().unwrap_or(self.session);
        let wishes = self.wishes(set, session)?;
        launch::recorded(launch::spec(session, &wishes, Stdio::Captured)?, &wishes.profile)
    }

    /// The image for the set's user; nothing where it is the one that was asked for.
    fn other(&mut self, set: &Set) -> anyhow::Result<Option<Rc<Session>>> {
        let groups = set.groups();
        if set.user().is_none() && groups.is_empty() {
            return Ok(None);
        }
        let key = format!("{}+{}", set.user().unwrap_or_default(), groups.join(","));
        if let Some(known) = self.others.get(&key) {
            return Ok(Some(Rc::clone(known)));
        }
        let user = match set.user() {
            Some(user) => user.parse()?,
            None => self.user.clone(),
        };
        let other = Rc::new(self.session.as_user(&user.with_groups(&groups)?)?);
        self.others.insert(key, Rc::clone(&other));
        Ok(Some(other))
    }

    fn wishes(&self, set: &Set, session: &Session) -> anyhow::Result<Wishes> {
        let mut profile = set.applied(&self.wishes.profile, session.account.uid)?;
        if let Some((name, text)) = self.filter.clone() {
            profile.seccomp = Seccomp::Profile(name, text);
        }
        Ok(Wishes { profile, ..self.wishes.clone() })
    }
}

impl Runner for Jails<'_> {
    type Error = anyhow::Error;

    fn run(&mut self, set: &Set) -> anyhow::Result<Trial> {
        let other = self.other(set)?;
        let session = other.as_deref().unwrap_or(self.session);
        let wishes = self.wishes(set, session)?;
        let (mut outcome, measures) = attempt::hardened(session, &wishes, self.plan)?;
        if let (Answer::Works, Some(broken)) = (outcome.answer, measures.iter().find(|measure| !measure.holds())) {
            // It may have worked because of that.
            outcome.answer = Answer::Unknown;
            outcome.summary = format!("it works, but not all that was asked of the jail holds: {}", broken.name);
        }
        let trial = Trial { answer: outcome.answer, summary: outcome.summary.clone() };
        self.last = Some(outcome);
        Ok(trial)
    }

    fn explain(&mut self, set: &Set) -> anyhow::Result<Option<Finding>> {
        let Some(mut outcome) = self.last.take() else { return Ok(None) };
        let other = self.other(set)?;
        let session = other.as_deref().unwrap_or(self.session);
        let wishes = self.wishes(set, session)?;
        if let Some(run) = watched::run(session, &wishes, self.plan, &outcome)? {
            if !wishes.profile.allow_exec.is_empty()
                && let Some(helper) = not_listed(&run.timeline)
            {
                return Ok(Some(helper));
            }
            watched::explain(session, &wishes, &run, self.baseline, &mut outcome)?;
        }
        let view = session.view()?;
        let argv = launch::command_line(&session.opened.image.config, &wishes.profile);
        diagnose::give_capabilities(&mut outcome, &session.entrypoint(&view, &argv).findings);
        let mut causes = outcome.findings.into_iter().filter(|finding| finding.role == Role::Cause);
        Ok(causes.find(|cause| cause.call.is_some() || cause.code == diagnose::CLOSED_ROOM))
    }

    fn flags(&self, set: &Set) -> String {
        let uid = match set.user() {
            Some(user) => user.parse().unwrap_or_default(),
            None => self.session.account.uid,
        };
        set.given().iter().map(|given| given.what.flag(uid)).collect::<Vec<_>>().join(" ")
    }
}

/// A program that is not on the list of those that may be started. Landlock refuses it as a mode would, so it takes the list to know.
fn not_listed(timeline: &Timeline) -> Option<Finding> {
    let refused = |event: &&Event| {
        let is_exec = event.kind == Kind::Failed && event.call.starts_with("exec");
        is_exec && event.wall.is_none() && event.errno.as_deref() == Some("EACCES")
    };
    let event = timeline.events.iter().rev().find(refused)?;
    let path = event.path.clone().filter(|path| path.starts_with('/'))?;
    Some(Finding {
        code: "second-exec-refused".to_owned(),
        role: Role::Cause,
        refused_by: Some("Landlock".to_owned()),
        call: Some(event.call.to_owned()),
        errno: event.errno.clone(),
        advice: Some("let the app do without it".to_owned()),
        relax: vec![format!("--allow-exec {path}")],
        path: Some(path),
        ..Finding::default()
    })
}
