//! RUN for another platform than the machine's: refused before anything is built, if it cannot work.

use std::collections::BTreeSet;

use super::error::{BuildError, Problem};
use super::session::Session;
use crate::plan::Step;
use crate::run;

impl Session {
    /// Tries for each platform that has a RUN whether its programs run here.
    pub(crate) fn check_platforms(&self) -> Result<(), BuildError> {
        let Some(isolation) = &self.isolation else {
            return Ok(());
        };
        let mut tried = BTreeSet::new();
        for stage in &self.plan.stages {
            let Some(step) = stage.steps.iter().find(|step| matches!(step.step, Step::Run(_))) else {
                continue;
            };
            let platform = &stage.platform;
            if run::runs_natively(platform) || !tried.insert(platform) {
                continue;
            }
            let root = self.workspace().new_rootfs()?;
            let outcome = run::probe_platform(&**isolation, platform, root.host_path(), &self.cancel);
            self.workspace().remove_in_background(root);
            let foreign = |source| Problem::Foreign {
                platform: platform.clone(),
                source,
            };
            outcome.map_err(|error| BuildError::new(foreign(error)).at(&step.excerpt, &stage.label))?;
        }
        Ok(())
    }
}
