//! Which shapes were the fastest on an adapter: found by trials, kept as JSON by whoever has a place for it.

use super::kernels::{Shape, Tile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What trials have found. What it does not name is chosen without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// Of products with one row, by the name of the matrix' format: threads that share outputs, and these outputs.
    pub products: BTreeMap<String, [usize; 2]>,
    /// Of products with many.
    pub tile: Option<Tile>,
}

impl Tuning {
    /// What is told; nothing where it is not understood, as after an update.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// What `parse` understands.
    pub fn to_json(&self) -> String {
        // Names and small numbers always are JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The shape for one row, if there is one that kernels can take.
    pub fn shape(&self, format: &str) -> Option<Shape> {
        let [lanes, rows] = *self.products.get(format)?;
        Some(Shape { lanes, rows, tokens: 1 }).filter(Shape::is_legal)
    }
}
