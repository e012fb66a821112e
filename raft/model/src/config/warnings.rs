//! What the user should know about accepted settings.

/// Collects sentences, in order, each once.
#[derive(Default)]
pub(super) struct Warnings(Vec<String>);

impl Warnings {
    /// The setting has no meaning in dmnode, and why.
    pub(super) fn never(&mut self, setting: &str, why: &str) {
        self.say(format!("`{setting}` has no effect: {why}"));
    }

    /// The setting is known but not effective before a later version; `until` says what happens instead.
    pub(super) fn later(&mut self, setting: &str, until: &str) {
        self.say(format!("`{setting}` has no effect before a later version of dmnode: {until}"));
    }

    pub(super) fn say(&mut self, sentence: String) {
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}
