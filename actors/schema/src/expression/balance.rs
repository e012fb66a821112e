//! Long rows of the same operator as trees of little depth.

use super::datum::Datum;
use super::parse::{Logic, Node};

/// A row of ANDs or ORs as a tree of little depth: their order of evaluation and their answer do not depend on its form.
pub(super) fn balanced(logic: Logic, mut parts: Vec<Node>) -> Node {
    while parts.len() > 1 {
        let mut halved = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(left) = rest.next() {
            halved.push(match rest.next() {
                Some(right) => Node::Logic(logic, left.into(), right.into()),
                None => left,
            });
        }
        parts = halved;
    }
    parts.pop().unwrap_or(Node::Literal(Datum::Null))
}
