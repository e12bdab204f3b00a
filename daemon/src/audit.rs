//! Audit.
use serde::{Deserialize, Serialize};

/// T.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditTask {}

/// P.
///
/// # Errors
/// none
pub fn perform(_task: &AuditTask) -> Result<(), crate::worker::Failure> {
    Ok(())
}
