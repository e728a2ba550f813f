//! The inputs that a workflow declares.

use serde_json::{Map, Value};

use crate::name::Name;
use crate::schema::Schema;

/// One declared input.
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) name: Name,
    pub(crate) schema: Schema,
    pub(crate) default: Option<Value>,
}

impl Input {
    /// Returns the name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the schema its value must match.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the value it has when none is given; without one it is required.
    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }
}

/// The inputs of a workflow, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Inputs(pub(crate) Vec<Input>);

/// One reason why given inputs were refused.
#[derive(Clone, Debug, PartialEq)]
pub struct InputProblem {
    /// The input.
    pub input: String,
    /// What is wrong with it.
    pub message: String,
    /// The schema it was held against; `null` if there is no such input.
    pub schema: Value,
}

impl Inputs {
    /// Returns the declared inputs, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Input> {
        self.0.iter()
    }

    /// Returns the input with this name.
    pub fn find(&self, name: &str) -> Option<&Input> {
        self.0.iter().find(|input| input.name == *name)
    }

    /// Checks given inputs and fills in defaults.
    ///
    /// # Errors
    ///
    /// One [`InputProblem`] for each input that is missing, unknown or does not match its schema.
    pub fn accept(&self, given: Map<String, Value>) -> Result<Map<String, Value>, Vec<InputProblem>> {
        let _ = given;
        unimplemented!("skeleton")
    }
}
