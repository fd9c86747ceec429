//! The outline and the configs of its bases, to steps.

use super::{BaseConfigs, Outline, Plan, PlanError, Planning, StageId};

/// Plans every needed stage.
///
/// # Errors
/// Operands that do not expand or mean nothing, and features the engine does not execute yet.
pub fn plan(outline: &Outline, configs: &BaseConfigs) -> Result<Planning, PlanError> {
    let _ = (outline, configs);
    Ok(Planning::Ready(Plan {
        stages: Vec::new(),
        target: StageId(0),
        images: Vec::new(),
    }))
}
