//! What each command's help ends with: how it is used, by example. `help` in the shell shows the
//! same.

pub(super) const INIT: &str = "\
Examples:
  quid init                              asks for everything, on a terminal
  quid init --directory quid://... --name alice
  quid init --directory quid://... --seal   the key under a passphrase";

pub(super) const REGISTER: &str = "\
Examples:
  quid register alice
  quid register alice --invite q3mz4k7c-...
  quid register alice --recovery usb/safe.pem";

pub(super) const STATUS: &str = "\
Examples:
  quid status
  quid status --json | jq -r .balance";

pub(super) const WHO: &str = "\
Examples:
  quid who
  quid who --watch        goes on, and shows who comes and goes";

pub(super) const PAY: &str = "\
Examples:
  quid pay bob 1.50 --memo 'for the tea'
  quid pay bob 1.50 --wait 60   asks for a minute before it says `unknown`
  quid pay LINK                 shows who asks for what, then asks
  quid pay --yes LINK
A link pays once: the same command again tells how the payment stands.";

pub(super) const REQUEST: &str = "\
Examples:
  quid request 1.50 --memo 'for the tea' --once --wait
  quid request --open --expires 30d --png donations.png
  quid request --tab --unit 0.000001 --units 50000
  quid request --cancel 019aab12-3456-7abc-8def-0123456789ab";

pub(super) const REFUND: &str = "\
Example:
  quid refund 12     pays back what came as entry 12, once";

pub(super) const VOID: &str = "\
Example:
  quid void 019aab12-3456-7abc-8def-0123456789ab";

pub(super) const LISTEN: &str = "\
Examples:
  quid listen
  quid listen --hidden    receives, but is not in `who`
  quid listen --json | jq -r 'select(.event == \"received\").amount'";

pub(super) const TAB: &str = "\
Example: 0.05 is held for bob, 300 units of it are paid, the rest comes back:
  quid tab open bob --unit 0.000001 --units 50000
  quid tab pay 019aab12-3456-7abc-8def-0123456789ab 300
  quid tab close 019aab12-3456-7abc-8def-0123456789ab";

pub(super) const TAB_OPEN: &str = "\
Example: bob can be paid up to 0.05, a millionth at a time, for a day:
  quid tab open bob --unit 0.000001 --units 50000 --expires 24h --memo 'for the stream'";

pub(super) const HISTORY: &str = "\
Examples:
  quid history
  quid history --limit 5
  quid history --after 120     what is newer than entry 120";

pub(super) const RECEIPT: &str = "\
Examples:
  quid receipt show 12 --out tea.receipt
  quid receipt verify tea.receipt
  quid receipt verify tea.receipt --directory quid://...   without a home";

pub(super) const KEY: &str = "\
Examples:
  quid key seal             the key under a passphrase from now on
  quid key rotate           a new key in the place of this one
  quid key status bob       where anybody's keys stand
  quid key accept bob       pay bob's new key, once you have seen how it followed";

pub(super) const SHELL: &str = "\
In the shell: Tab completes commands, flags and names; an arrow to the right takes the hint; a line
with an open quote or a backslash at its end goes on below; `help pay` explains `pay`.";

pub(super) const WALLET: &str = "\
Examples:
  quid wallet             opens the page in the browser
  quid wallet --no-open   prints the link instead";

pub(super) const DOCTOR: &str = "\
Ends with code 0 if all is well or only weak, and with 5 if something is bad.

Examples:
  quid doctor
  quid doctor --json | jq -r 'select(.state != \"good\").advice'";

pub(super) const CONFIG: &str = "\
A flag beats a QUID_ variable, which beats the file config.toml in the home, which beats the default.

Examples:
  quid config list
  quid config set wait 30
  QUID_WAIT=60 quid pay bob 1.50";

pub(super) const COMPLETIONS: &str = "\
Examples:
  bash   quid completions bash > ~/.local/share/bash-completion/completions/quid
  zsh    quid completions zsh > \"${fpath[1]}/_quid\"
  fish   quid completions fish > ~/.config/fish/completions/quid.fish";

pub(super) const MAN: &str = "\
Examples:
  quid man | man -l -
  quid man tab open | man -l -
  quid man --out /usr/local/share/man/man1";
