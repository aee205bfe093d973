//! Walks a module's instructions: none may belong to a proposal that the variant must do without, and some must to
//! those that it is for.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload};

use crate::variant::Variant;

/// The proposal that an instruction belongs to.
macro_rules! define_proposal {
    ($(@$proposal:ident $op:ident $({ $($argument:ident: $type:ty),* })? => $visit:ident ($($arity:tt)*))*) => {
        fn proposal(operator: &Operator) -> &'static str {
            match operator {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "unknown",
            }
        }
    };
}
wasmparser::for_each_operator!(define_proposal);

/// Fails on the first instruction that the variant forbids, and if one that it requires is absent; prints how many of each later proposal there are.
pub fn check(module: &Path, variant: &Variant) -> Result<()> {
    let bytes = std::fs::read(module)?;
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut imports = 0;
    let mut bodies = 0;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imports += usize::from(matches!(import?.ty, wasmparser::TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader()?;
                while !operators.eof() {
                    let (operator, offset) = operators.read_with_offset()?;
                    let proposal = proposal(&operator);
                    if variant.forbidden.contains(&proposal) {
                        let function = imports + bodies;
                        let name = function_name(&bytes, function as u32)?.unwrap_or_default();
                        bail!(
                            "{operator:?} ({proposal}) stands in the module {:?}, at byte {offset:#x}, function \
                             {function} {name}",
                            variant.name
                        );
                    }
                    *counts.entry(proposal).or_default() += 1;
                }
                bodies += 1;
            }
            _ => {}
        }
    }
    if let Some(absent) = variant.required.iter().find(|proposal| !counts.contains_key(**proposal)) {
        bail!("no instruction of {absent} stands in the module {:?}", variant.name);
    }
    let counts: Vec<_> = counts.iter().map(|(proposal, count)| format!("{proposal} {count}")).collect();
    eprintln!("instructions in {}: {}", variant.name, counts.join(", "));
    Ok(())
}

fn function_name(module: &[u8], function: u32) -> Result<Option<&str>> {
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload? else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        for name in names {
            let Name::Function(functions) = name? else { continue };
            for naming in functions {
                let naming = naming.context("the name section is broken")?;
                if naming.index == function {
                    return Ok(Some(naming.name));
                }
            }
        }
    }
    Ok(None)
}
