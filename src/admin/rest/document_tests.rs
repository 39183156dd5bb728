//! Routes.
use super::*;
