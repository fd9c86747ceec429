//! The stages of a file with what runs in them, for those who look at a file and do not build it.

use super::needs;
use super::outline::{Base, Outline, OutlinedStep};
use super::{BaseConfigs, PlanError, StageId};
use crate::dockerfile::Statement;
use crate::oci::Platform;

/// Which stages are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The targets and what they need.
    Target,
    /// All there are.
    File,
}

/// A stage before its variables are expanded.
#[derive(Clone, PartialEq, Debug)]
pub struct StageView<'a> {
    /// Its place in the file.
    pub id: StageId,
    /// `AS name`, in lower case.
    pub name: Option<&'a str>,
    /// What it starts from.
    pub base: &'a Base,
    /// What it is built for.
    pub platform: &'a Platform,
    /// What the base leaves to run first, as far as configs are known.
    pub triggers: Vec<Statement>,
    /// What it says itself.
    pub instructions: Vec<&'a Statement>,
}

impl Outline {
    /// The stages of `scope` in the order of the file; the base of each is among those before it.
    ///
    /// # Errors
    /// Triggers that cannot be parsed, or whose `--from` means nothing.
    pub fn stages(&self, scope: Scope, configs: &BaseConfigs) -> Result<Vec<StageView<'_>>, PlanError> {
        let wanted = match scope {
            Scope::Target => self.targets.clone(),
            Scope::File => (0..self.stages.len()).map(StageId).collect(),
        };
        let needs = needs::of_stages(self, wanted, configs)?;
        let views = needs.stages.into_iter().map(|(id, triggers)| self.view(id, triggers));
        Ok(views.collect())
    }

    fn view(&self, id: StageId, triggers: Vec<OutlinedStep>) -> StageView<'_> {
        let stage = &self.stages[id.0];
        StageView {
            id,
            name: self.names.get(id),
            base: &stage.base,
            platform: &stage.platform,
            triggers: triggers.into_iter().map(|step| step.statement).collect(),
            instructions: stage.steps.iter().map(|step| &step.statement).collect(),
        }
    }
}
