// SPDX-License-Identifier: Apache-2.0
package app;

public class RajinApplication {}
