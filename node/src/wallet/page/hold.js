// What a whole tab is worth, shown while it is typed. The node counts, so that the page says what the
// ledger will.
import { ask } from "./node.js";

/** Calls `show` with what is held for so many units of that price, or with nothing. */
export const follow = (unit, units, show) => {
  let turn = 0;
  const count = async () => {
    turn += 1;
    const mine = turn;
    const whole = unit.value.trim() && units.value.trim();
    const told = whole ? await ask("api/hold", { unit: unit.value, units: units.value }) : {};
    // An older question may be answered later.
    if (mine === turn) show(told.ok ? told.item : null);
  };
  let waiting = null;
  for (const field of [unit, units]) {
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(count, 150);
    });
  }
};
