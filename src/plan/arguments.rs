//! Build arguments and what else the command line says about a build.

use crate::oci::Platform;

/// What the command line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanOptions {
    /// `--build-arg`, values resolved; of equal names the last counts.
    pub build_args: Vec<(String, String)>,
    /// `--target`; the last stage when unset.
    pub target: Option<String>,
    /// What to build for.
    pub target_platform: Platform,
    /// What we run on.
    pub build_platform: Platform,
    /// `--label`, applied after every LABEL; never part of a step's identity.
    pub labels: Vec<(String, String)>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            build_args: Vec::new(),
            target: None,
            target_platform: Platform::host(),
            build_platform: Platform::host(),
            labels: Vec::new(),
        }
    }
}
