//! What an operator sees of clusters that are well, and of such that are not.

use super::*;
