//! Reads what stands for the images of the manifests.

use super::file::ScenarioReader;
use super::yaml::Node;
use super::*;
use crate::doctor::real_program::REAL_PROGRAMS;

impl ScenarioReader<'_> {
    pub(super) fn image(&self, node: &Node) -> Option<ImageBinding> {
        let mut fields = self.reader.fields(node)?;
        let folder = fields.optional("folder", |node| self.path(node, "image folder"));
        let (program, real) = match fields.one_of(&["program", "real"]) {
            Some(("real", node)) if folder == Some(None) => {
                let text = "`real` names a file that a Dockerfile copies: name its `folder`, or say `program: real`";
                (self.reader.refuse(node.line, text), None)
            }
            Some(("real", node)) => (Some(ProgramLabel::Simulated), self.real_program(node).map(Some)),
            Some((_, node)) => (self.program_label(node), Some(None)),
            None => (None, None),
        };
        fields.close();
        Some(ImageBinding { folder: folder?, program: program?, real: real?, source: self.reader.source(node.line) })
    }

    fn real_program(&self, node: &Node) -> Option<&'static RealProgram> {
        let words: Vec<_> = REAL_PROGRAMS.iter().map(|program| (program.name, program)).collect();
        self.reader.word(node, &words)
    }

    pub(super) fn program_label(&self, node: &Node) -> Option<ProgramLabel> {
        let words = [
            ("real", ProgramLabel::Real),
            ("rewritten", ProgramLabel::Rewritten),
            ("simulated", ProgramLabel::Simulated),
        ];
        self.reader.word(node, &words)
    }
}
