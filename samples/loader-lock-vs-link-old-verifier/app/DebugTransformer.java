// SPDX-License-Identifier: Apache-2.0
package app;

import java.lang.instrument.ClassFileTransformer;
import java.security.ProtectionDomain;

/** Stands for an agent: a class-file transformer that needs a ClassWriter. */
public class DebugTransformer implements ClassFileTransformer {
  @Override
  public byte[] transform(
      ClassLoader loader,
      String className,
      Class<?> redefined,
      ProtectionDomain domain,
      byte[] classFile) {
    new ClassWriter();
    return null;
  }
}
