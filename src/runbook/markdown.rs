//! Markdown runbooks (CommonMark), through pulldown-cmark.
