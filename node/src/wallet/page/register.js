// Taking a name, with an invite code where the directory wants one.
import { $, complain } from "./dom.js";
import { ask } from "./node.js";

$("register-form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  for (const field of ["register-name", "register-invite"]) complain(field, "");
  const told = await ask("api/register", { name: $("register-name").value, invite: $("register-invite").value });
  if (told.ok) return;
  // What is wrong with the code is shown at the code, which then has to be seen.
  const invite = told.error === "uninvited" || told.error?.startsWith("invite");
  const field = invite ? "register-invite" : "register-name";
  if (invite) $("register-code").open = true;
  complain(field, told.message);
  $(field).focus();
});
